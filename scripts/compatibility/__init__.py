"""Every operator and node-level model of PyG against ``autoscale``, and the page that says so."""
