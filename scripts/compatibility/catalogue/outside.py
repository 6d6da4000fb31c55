"""What ``torch_geometric.nn.models`` exports that computes no row per node, and why."""

LINKS = 'scores pairs of nodes, not nodes: scale the encoder, score its rows'
WALKS = 'an embedding table trained on random walks, without message passing'
ROWS = 'works row by row: nothing to scale'

OUTSIDE = {
    'Node2Vec': WALKS,
    'MetaPath2Vec': WALKS,
    'InnerProductDecoder': LINKS,
    'ARLinkPredictor': LINKS,
    'LPFormer': LINKS,
    'VGAE': 'its encoder returns a mean and a deviation: scale the encoder with both side by side',
    'ARGVA': 'as VGAE',
    'RENet': 'a recurrent model over sequences of events, without message passing',
    'TGNMemory': 'keeps a memory of a stream of events, itself a history, updated in time order',
    'GPSE': 'reads a batch object and draws random node features; its output is an encoding',
    'GPSENodeEncoder': ROWS,
    'to_captum_model': 'a function that wraps a model for explanation',
    'to_captum_input': 'a function that prepares inputs for explanation',
    'captum_output_to_dicts': 'a function that sorts explanations',
}
