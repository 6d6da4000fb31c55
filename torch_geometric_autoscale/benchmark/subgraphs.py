"""Training on induced subgraphs, which drop every edge that leaves a batch: PyG's own way."""

import copy
import time
from collections.abc import Iterator

import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.loader import RandomNodeLoader
from torch_geometric.utils import to_torch_csr_tensor

from ..cli.job import Job
from ..loader import EvalSubgraphLoader
from ..normalize import gcn_normalize
from ..scalable import ScalableGNN
from ..training import Epoch, Run, TrainSettings, step_peak_bytes
from ..training.epoch_order import EpochOrder
from ..training.interrupts import StopRequest
from ..training.loop import Evaluate
from ..training.objective import build_optimizer, classification_loss, micro_f1_by_split
from ..training.schedule import learning_rate_factor


def train_on_subgraphs(
    model: ScalableGNN,
    job: Job,
    settings: TrainSettings,
    random_nodes: bool,
    evaluate: Evaluate | None = None,
    unnormalized: Data | None = None,
    self_loops: bool = True,
) -> Run:
    """Train without histories, for comparison; the same steps, losses, schedule and evaluation.

    Args:
        model: Called on each subgraph as on a graph of its own; left at its best validation epoch.
        job: The graph and its parts.
        settings: As for training with histories; ``batch_size`` parts make a batch.
        random_nodes: Batches of random nodes, drawn anew in each epoch, as many as parts make:
            PyG's :class:`~torch_geometric.loader.RandomNodeLoader`. Else batches of parts.
        evaluate: As for :func:`train`. Evaluation is exact, on the whole graph.
        unnormalized: The job's graph before its edges were normalised. Each subgraph is then
            normalised by its own degrees, as PyG's ``GCNConv`` does in every call. Without it,
            subgraphs have the edges and weights of ``job.data``.
        self_loops: Whether that adds the self-loops that are missing.
    """
    own = None if unnormalized is None else (unnormalized, self_loops)
    return _SubgraphTraining(model, job, settings, random_nodes, evaluate, own).run()


class _SubgraphTraining:
    def __init__(
        self,
        model: ScalableGNN,
        job: Job,
        settings: TrainSettings,
        random_nodes: bool,
        evaluate: Evaluate | None,
        own_norm: tuple[Data, bool] | None,
    ) -> None:
        self.model, self.job, self.settings = model, job, settings
        self.own_norm = own_norm
        self.random_nodes = random_nodes
        self.evaluate = evaluate or (lambda _, logits: micro_f1_by_split(logits, job.data))
        self.device = next(model.parameters()).device
        self.num_parts = job.ptr.numel() - 1
        self.num_batches = -(-self.num_parts // settings.batch_size)
        self.loader = EvalSubgraphLoader(
            job.data, job.ptr, batch_size=settings.batch_size, log=False
        )
        torch.manual_seed(settings.seed)
        self.optimizer = self._build_optimizer(model)

    def run(self) -> Run:
        settings = self.settings
        run = Run('subgraph', settings.seed, settings, fingerprint=self.loader.graph.fingerprint)
        if settings.measure_memory:
            run.step_peak_bytes = self._step_peak_bytes()
        weights = copy.deepcopy(self.model.state_dict())
        started = time.perf_counter()
        with StopRequest() as stop:
            while len(run.epochs) < (settings.epochs or 0) and not stop.requested:
                epoch = Epoch(len(run.epochs) + 1)
                self._train_epoch(epoch, stop)
                epoch.elapsed = time.perf_counter() - started
                run.epochs.append(epoch)
                if epoch.epoch % settings.eval_every == 0 or epoch.epoch == settings.epochs:
                    self._evaluate(epoch)
                    epoch.elapsed = time.perf_counter() - started
                    if run.best is None or (epoch.val or 0.0) > (run.best.val or 0.0):
                        run.best, weights = epoch, copy.deepcopy(self.model.state_dict())
            run.interrupted = stop.requested
        self.model.load_state_dict(weights)
        return run

    def _evaluate(self, epoch: Epoch) -> None:
        begun = time.perf_counter()
        with torch.no_grad():
            scores = self.evaluate(self.model, self.model(loader=self.loader))
        epoch.train, epoch.val, epoch.test = scores['train'], scores['val'], scores['test']
        epoch.eval_seconds = time.perf_counter() - begun

    def _train_epoch(self, epoch: Epoch, stop: StopRequest) -> None:
        begun, total, labelled = time.perf_counter(), 0.0, 0
        self.model.train()
        for data in self._subgraphs(epoch.epoch):
            count = int(data.train_mask.sum())
            if count == 0:
                epoch.skipped += 1
                continue
            self.optimizer.zero_grad()
            loss = self._forward_backward(self.model, data)
            self._follow_schedule(epoch)
            self.optimizer.step()
            total, labelled = total + float(loss) * count, labelled + count
            epoch.steps += 1
            if stop.requested or epoch.steps == self.settings.max_steps:
                break
        epoch.loss = total / labelled if labelled else None
        epoch.seconds = time.perf_counter() - begun

    def _subgraphs(self, epoch: int) -> Iterator[Data]:
        if self.own_norm is None:
            yield from self._induced(self.job.data, epoch)
            return
        whole, self_loops = self.own_norm
        for data in self._induced(whole, epoch):
            yield gcn_normalize(data, add_self_loops=self_loops)

    def _induced(self, data: Data, epoch: int) -> Iterator[Data]:
        ptr = self.job.ptr
        order = EpochOrder(self.settings.seed, self.num_parts)
        order.epoch = epoch
        if self.random_nodes:
            nodes = EpochOrder(self.settings.seed, data.num_nodes)
            nodes.epoch = epoch
            yield from RandomNodeLoader(data, self.num_batches, sampler=nodes)
            return
        parts, size, bounds = list(order), self.settings.batch_size, ptr.tolist()
        for start in range(0, len(parts), size):
            chunks = [torch.arange(bounds[p], bounds[p + 1]) for p in parts[start : start + size]]
            yield data.subgraph(torch.cat(chunks))

    def _forward_backward(self, model: torch.nn.Module, data: Data) -> Tensor:
        data = data.to(self.device)
        n = data.num_nodes
        adj_t = to_torch_csr_tensor(data.edge_index.flip(0), data.get('edge_weight'), (n, n))
        out = model(data.x, adj_t)
        out, *terms = out if isinstance(out, tuple) else (out,)
        loss = classification_loss(out[data.train_mask], data.y[data.train_mask])
        sum(terms, loss).backward()
        if self.settings.grad_norm is not None:
            torch.nn.utils.clip_grad_norm_(model.parameters(), self.settings.grad_norm)
        return loss.detach()

    def _follow_schedule(self, epoch: Epoch) -> None:
        settings = self.settings
        steps = settings.max_steps or self.num_batches
        progress = (epoch.epoch - 1 + min(epoch.steps / steps, 1.0)) / (settings.epochs or 1)
        for group in self.optimizer.param_groups:
            group['lr'] = settings.lr * learning_rate_factor(settings.schedule, progress)

    def _build_optimizer(self, model: torch.nn.Module) -> torch.optim.Optimizer:
        settings = self.settings
        return build_optimizer(
            model, settings.lr, settings.reg_weight_decay, settings.nonreg_weight_decay
        )

    def _step_peak_bytes(self) -> int | None:
        labelled = (data for data in self._subgraphs(0) if bool(data.train_mask.any()))
        data = next(labelled, None)
        if data is None:
            return None
        return step_peak_bytes(
            self.model, self._build_optimizer,
            lambda copied: self._forward_backward(copied, data), self.device,
        )  # fmt: skip
