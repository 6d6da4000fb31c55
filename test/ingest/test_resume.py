"""A conversion that was stopped, at whatever moment, ends with the same bytes."""

import os
import random
import shutil
import signal
import time

import numpy as np
import pytest

from torch_geometric_autoscale import convert
from torch_geometric_autoscale.ingest import job, job_state

from . import killed
from .conftest import contents
from .test_convert import arrays  # noqa: F401
from .test_tables import NAMES, named_csv, nodes_csv


class Bar:
    """A progress bar that calls something whenever a conversion has come a bit further."""

    def __init__(self, call):
        self.update = lambda advance: call()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        pass


def at_every_step(monkeypatch, call):
    monkeypatch.setattr(job, 'progress', lambda *args, **kwargs: Bar(call))


@pytest.fixture(params=['dense', 'names', 'nodes', 'npz', 'undirected'])
def call(request, small_pieces, tmp_path, write, edges_csv):
    """Converts files of some kind to a folder, with many steps."""
    kind, options = request.param, {}
    source = edges_csv
    if kind in ('dense', 'undirected'):
        np.save(tmp_path / 'x.npy', np.arange(20.0).reshape(5, 4))
        options = {'weight_column': 2, 'x': tmp_path / 'x.npy', 'undirected': kind != 'dense'}
    elif kind == 'names':
        source, options = named_csv(write, NAMES), {'ids': 'any', 'undirected': True}
    elif kind == 'nodes':
        nodes = nodes_csv(write, order=[3, 0, 4, 1, 2])
        options = {'nodes': nodes, 'node_column': 'id', 'undirected': True}
    else:
        source = tmp_path / 'graph.npz'
        np.savez_compressed(source, **request.getfixturevalue('arrays'))
    return lambda target, **more: convert(source, target, log=False, **{**options, **more})


def test_from_every_moment_a_conversion_goes_on_to_the_same_end(call, tmp_path, monkeypatch):
    # What a process that is killed leaves is what lies in the folder at that moment.
    monkeypatch.setattr(job_state, 'SAVE_EVERY', 0)
    moments = []

    def keep():
        moments.append(tmp_path / f'moment{len(moments)}')
        shutil.copytree(tmp_path / 'whole.part', moments[-1])

    at_every_step(monkeypatch, keep)
    call(tmp_path / 'whole')
    assert len(moments) > 10
    steps_left = []
    for moment in moments:
        moment.rename(tmp_path / 'graph.part')
        steps = []
        at_every_step(monkeypatch, lambda steps=steps: steps.append(0))
        call(tmp_path / 'graph')
        assert contents(tmp_path / 'graph') == contents(tmp_path / 'whole')
        shutil.rmtree(tmp_path / 'graph')
        steps_left.append(len(steps))
    assert steps_left == sorted(steps_left, reverse=True)  # nothing done is done again


def test_an_interrupted_conversion_goes_on_where_it_was(call, tmp_path, monkeypatch):
    call(tmp_path / 'whole')
    for allowed in range(2, 100):
        steps = []

        def interrupt(steps=steps, allowed=allowed):
            steps.append(0)
            if len(steps) == allowed:
                raise KeyboardInterrupt

        at_every_step(monkeypatch, interrupt)
        try:
            call(tmp_path / 'graph')
            break
        except KeyboardInterrupt:
            assert not (tmp_path / 'graph').exists()
    assert allowed > 4
    assert contents(tmp_path / 'graph') == contents(tmp_path / 'whole')
    assert not (tmp_path / 'graph.part').exists()


def test_a_folder_that_was_left_damaged_is_begun_anew(call, tmp_path):
    call(tmp_path / 'whole')
    part = tmp_path / 'graph.part'
    part.mkdir()
    (part / 'state.json').write_text('{"version"')  # no loss: it is renamed when it is whole
    (part / 'x.npy').write_bytes(b'half')
    call(tmp_path / 'graph')
    assert contents(tmp_path / 'graph') == contents(tmp_path / 'whole')


@pytest.fixture
def begun(edges_csv, small_pieces, tmp_path, monkeypatch):
    """A conversion that has been stopped while it read the edges."""

    def stop():
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        at_every_step(patch, stop)
        with pytest.raises(KeyboardInterrupt):
            convert(edges_csv, tmp_path / 'graph', weight_column=2)
    assert (tmp_path / 'graph.part' / 'state.json').exists()
    return edges_csv


def test_a_source_that_changed_is_refused_and_the_beginning_kept(begun, tmp_path):
    stat = begun.stat()
    os.utime(begun, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    with pytest.raises(ValueError, match=r'must not change while it is converted .*edges\.csv: '):
        convert(begun, tmp_path / 'graph', weight_column=2)
    with begun.open('a') as file:
        file.write('0,0,1\n')
    with pytest.raises(ValueError, match=r'44 bytes of .*, now 50 .*Pass restart=true'):
        convert(begun, tmp_path / 'graph', weight_column=2)
    assert (tmp_path / 'graph.part' / 'state.json').exists()
    assert convert(begun, tmp_path / 'graph', weight_column=2, restart=True).num_edges == 8


def test_other_options_are_refused_by_name(begun, tmp_path, write):
    for options, message in {
        'weight_column: 2, now none': {},
        'undirected: False, now True': {'weight_column': 2, 'undirected': True},
        'ids: dense, now any': {'weight_column': 2, 'ids': 'any'},
        'num_nodes: none, now 5': {'weight_column': 2, 'num_nodes': 5},
    }.items():
        with pytest.raises(ValueError, match=f'the options it was begun with .got {options}'):
            convert(begun, tmp_path / 'graph', **message)
    other = write('others.csv', begun.read_text())
    with pytest.raises(ValueError, match=r'edges\.csv: 44 bytes .*, now none'):
        convert(other, tmp_path / 'graph', weight_column=2)
    assert convert(begun, tmp_path / 'graph', weight_column=2).num_edges == 7


def test_a_graph_from_memory_is_begun_anew(begun, data, tmp_path):
    assert convert(data, tmp_path / 'graph').num_nodes == 5


def test_bad_input_leaves_no_beginning(small_pieces, edges_csv, tmp_path):
    edges_csv.write_text(edges_csv.read_text() + '0,-1,1\n')
    with pytest.raises(ValueError, match='must not be negative'):
        convert(edges_csv, tmp_path / 'graph')
    assert [path.name for path in tmp_path.iterdir()] == ['edges.csv']


def test_a_full_disk_is_told_and_the_beginning_kept(edges_csv, tmp_path, monkeypatch):
    from torch_geometric_autoscale.graph_folder import spool

    class Full:
        closed = False

        def write(self, text):
            raise OSError(28, os.strerror(28))

        def flush(self):
            pass

        def fileno(self):
            return 0

        def close(self):
            pass

    original = spool.EdgeSpool.__init__

    def init(self, *args):
        original(self, *args)
        self.close()
        self._files = dict.fromkeys(self._files, Full())

    with monkeypatch.context() as patch:
        patch.setattr(spool.EdgeSpool, '__init__', init)
        with pytest.raises(OSError, match=r'the disk must take the edges .*Make room') as caught:
            convert(edges_csv, tmp_path / 'graph')
    assert caught.value.errno == 28
    assert not (tmp_path / 'graph').exists()
    assert convert(edges_csv, tmp_path / 'graph').num_edges == 7


@pytest.mark.skipif(os.name != 'posix', reason='kill -9')
def test_a_killed_process_leaves_what_the_next_goes_on_from(tmp_path):
    pytest.importorskip('pyarrow')
    rng = np.random.default_rng(0)
    ends = rng.integers(0, 3000, (40_000, 2))
    np.savetxt(tmp_path / 'edges.csv', ends, '%d', delimiter=',')
    killed.start_server()
    killed.finish(tmp_path / 'edges.csv', tmp_path / 'whole')
    moments, kills = random.Random(0), 0
    for longest in (0, 0.1, 0.3):  # the first is killed at once: a fast machine is done in no time
        process = killed.start(tmp_path / 'edges.csv', tmp_path / 'graph')
        begun = time.monotonic()
        while process.is_alive() and not (tmp_path / 'graph.part' / 'state.json').exists():
            assert time.monotonic() - begun < 60
            time.sleep(0.001)
        process.join(moments.uniform(0, longest))
        process.kill()
        process.join()
        assert process.exitcode in (0, -signal.SIGKILL)
        is_done = (tmp_path / 'graph').exists()  # also if it is killed between this and its exit
        kills += not is_done
        assert is_done or process.exitcode != 0
    killed.finish(tmp_path / 'edges.csv', tmp_path / 'graph')
    assert kills > 0
    assert contents(tmp_path / 'graph') == contents(tmp_path / 'whole')
    order = np.argsort(ends[:, 1], kind='stable')
    assert np.array_equal(np.load(tmp_path / 'graph' / 'col.npy'), ends[order, 0])
