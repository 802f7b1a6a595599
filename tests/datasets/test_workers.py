"""A signal to all processes of a run leaves the workers of its loader at work."""

import os
import signal

from torch.utils.data import DataLoader, Dataset

from datasets.workers import leave_signals_to_parent


class Signalled(Dataset):
    """Sends its own process the signals before each sample."""

    def __len__(self):
        return 2

    def __getitem__(self, index):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
        return index


def test_workers_go_on():
    loader = DataLoader(Signalled(), num_workers=1, worker_init_fn=leave_signals_to_parent)
    assert [int(batch) for batch in loader] == [0, 1]
