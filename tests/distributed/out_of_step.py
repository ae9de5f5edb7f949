"""Tests on n ranks that ranks at different iterations raise the same error.

``mpiexec -n N python -m mpi4py out_of_step.py``. First, the last rank evaluates while the others
train. Then it has made one more update, as if it had resumed from another snapshot.
"""

import chainer
import chainermn
import numpy as np

from chainer_ssd import MultiboxTrainChain
from chainer_ssd.distributed import RanksOutOfStepError, gather_values
from tests.distributed.exact_gradients import Model, make_batch


def main():
    comm = chainermn.create_communicator('naive')
    assert comm.size > 1, 'one rank shows nothing'
    last = comm.rank == comm.size - 1
    batch = make_batch(np.random.default_rng(comm.rank), (0.3, 0.4))

    chain = MultiboxTrainChain(Model(), comm=comm)
    optimizer = chainer.optimizers.SGD().setup(chain)
    optimizer.update(chain, *batch)
    with chainer.using_config('train', not last):
        report(comm, chain, batch)
    if last:
        for param in chain.params():
            param.update()
    report(comm, chain, batch)


def report(comm, chain, batch):
    try:
        chain(*batch)
        text = 'no error'
    except RanksOutOfStepError as error:
        text = str(error)
    texts = gather_values(comm, text)
    assert len(set(texts)) == 1, texts
    if comm.rank == 0:
        print(text, flush=True)


if __name__ == '__main__':
    main()
