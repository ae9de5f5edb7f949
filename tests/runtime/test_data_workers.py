"""Deaths of data workers."""

import multiprocessing
import time

from chainer_ssd.runtime.watchdog.data_workers import DataWorkers


def start_worker(target, *args):
    worker = multiprocessing.get_context('fork').Process(target=target, args=args, daemon=True)
    worker.start()
    return worker


def test_a_death_is_found_once():
    workers = DataWorkers()
    killed, terminated = start_worker(time.sleep, 60), start_worker(time.sleep, 60)
    assert workers.find_deaths() == []
    killed.kill()
    terminated.terminate()  # as a pool ends its workers
    killed.join(), terminated.join()
    assert workers.find_deaths() == [f'data worker {killed.pid} died (SIGKILL)']
    assert workers.find_deaths() == []


def test_a_worker_that_was_closed_is_no_failure():
    workers, worker = DataWorkers(), start_worker(time.sleep, 0.2)
    assert workers.find_deaths() == [] and workers._known
    worker.join()
    worker.close()
    assert workers.find_deaths() == [] and not workers._known
