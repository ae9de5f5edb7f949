"""TCP connections and messages between ranks, on a network with other programs."""

import contextlib
import os
import resource
import selectors
import socket
import subprocess
import sys
import threading
import time

import pytest

from chainer_ssd.runtime.watchdog import addresses, door, messenger
from chainer_ssd.runtime.watchdog.caller import Caller
from chainer_ssd.runtime.watchdog.door import Door
from chainer_ssd.runtime.watchdog.handshake import HELLO, Handshake, RefusedError
from chainer_ssd.runtime.watchdog.messenger import Messenger
from tests.distributed.threads import run_ranks

LONG_SECONDS = 600  # longer than run_ranks allows: a timeout that expires makes the test fail


def receive(messenger, n):
    """Return the first n messages."""
    found, end = [], time.monotonic() + 20
    while len(found) < n and time.monotonic() < end:
        found += messenger.receive(1)
    return found


def exchange(comm, **options):
    """Send each rank's number to rank 0, and one message from rank 0 to all."""
    messenger = Messenger(comm, **options)
    if comm.rank:
        messenger.send(comm.rank)
        received = receive(messenger, 1)
    else:
        received = sorted(receive(messenger, comm.size - 1))
        messenger.send('all')
    messenger.close_in_order()
    return received


def check_exchanged(results):
    size = len(results)
    assert results == [[(rank, rank) for rank in range(1, size)], *[[(0, 'all')]] * (size - 1)]


def test_messages_reach_rank_0_and_all_other_ranks():
    check_exchanged(run_ranks(4, exchange))


def test_a_closed_connection_is_reported_once():
    def program(comm):
        with contextlib.closing(Messenger(comm)) as messenger:
            return comm.rank or receive(messenger, 1) + messenger.receive(0.1)

    assert run_ranks(2, program)[0] == [(1, None)]


def test_other_programs_that_connect_are_disconnected(monkeypatch):
    others = []

    class DoorWithOthers(Door):
        def __init__(self, *args):
            super().__init__(*args)
            for data in (b'', b'', b'GET / HTTP/1.1\r\n\r\n' * 1000, b'x', b'\0' * 36, None):
                others.append(socket.create_connection(('127.0.0.1', self.port)))
                if data is None:
                    others[-1].close()
                else:
                    others[-1].sendall(data)

    monkeypatch.setattr(messenger, 'Door', DoorWithOthers)
    monkeypatch.setattr(messenger, 'CONNECT_SECONDS', LONG_SECONDS)
    check_exchanged(run_ranks(3, exchange))
    for other in others:
        if other.fileno() >= 0:
            other.settimeout(20)
            try:
                assert len(other.recv(1000)) in (0, 64)  # a random number and a proof, no secret
            except ConnectionError:
                pass
            other.close()


def test_another_program_that_answers_is_not_rank_0(monkeypatch):
    with socket.create_server(('127.0.0.1', 0)) as echo:
        received = []

        def answer():
            for _ in range(3):
                served, _ = echo.accept()
                received.append(served.recv(1000))
                served.sendall(b'0123456789abcdef' * 4)

        threading.Thread(target=answer, daemon=True).start()

        class CallerOfOther(Caller):
            def __init__(self, *args):
                super().__init__(*args)
                self._targets.insert(0, ('another', socket.AF_INET, echo.getsockname()))

        monkeypatch.setattr(messenger, 'Caller', CallerOfOther)
        check_exchanged(run_ranks(2, exchange))


@pytest.fixture
def connect():
    """Return a function that returns both ends of a TCP connection, non-blocking."""
    opened = []

    def connect():
        with socket.create_server(('127.0.0.1', 0)) as server:
            ends = socket.create_connection(server.getsockname()), server.accept()[0]
        opened.extend(ends)
        for end in ends:
            end.setblocking(False)
        return ends

    yield connect
    for end in opened:
        end.close()


def prove(*handshakes):
    """Let both ends proceed. Return their results, or the error of one."""
    results = [None] * len(handshakes)
    end = time.monotonic() + 10
    while None in results and time.monotonic() < end:
        for i, handshake in enumerate(handshakes):
            if results[i] is None:
                try:
                    results[i] = handshake.proceed()
                except RefusedError as error:
                    results[i] = error
                    handshake.connection.close()
    return results


def test_both_ends_prove_that_they_know_the_secret(connect):
    opened, accepted = connect()
    assert prove(Handshake(opened, b's' * 32, 5), Handshake(accepted, b's' * 32, None)) == [5, 5]


def test_an_end_with_another_secret_is_refused(connect):
    opened, accepted = connect()
    results = prove(Handshake(opened, b's' * 32, 5), Handshake(accepted, b't' * 32, None))
    assert all(isinstance(result, RefusedError) for result in results)


def test_a_proof_cannot_be_relayed(connect):
    """A program that has a connection to both ends, and passes on what it reads."""
    opened, to_rank = connect()
    to_rank_0, accepted = connect()
    rank, rank_0 = Handshake(opened, b's' * 32, 5), Handshake(accepted, b's' * 32, None)
    results, end = [None, None], time.monotonic() + 2
    while time.monotonic() < end and None in results:
        for source, target in ((to_rank, to_rank_0), (to_rank_0, to_rank)):
            with contextlib.suppress(OSError):
                target.sendall(source.recv(1000))
        for i, handshake in enumerate((rank, rank_0)):
            try:
                results[i] = results[i] or handshake.proceed()
            except RefusedError as error:
                results[i] = error
                handshake.connection.close()
    assert isinstance(results[0], RefusedError) and results[1] != 5


def test_no_end_sends_the_secret_or_repeats_itself(connect):
    secret = bytes(range(32))
    sent = set()
    for _ in range(2):
        opened, accepted = connect()
        Handshake(opened, secret, 5)
        hello = accepted.recv(1000)
        assert hello not in sent and secret[:8] not in hello
        sent.add(hello)
        opened.close()
    opened, accepted = connect()
    rank_0 = Handshake(accepted, secret, None)
    opened.sendall(HELLO.pack(5, b'n' * 32))
    time.sleep(0.05)
    assert rank_0.proceed() is None
    assert secret[:8] not in opened.recv(1000)


def test_an_address_without_an_answer_does_not_block_the_others(monkeypatch):
    # The queue of a server that never accepts is full after some connections. Further connections
    # get no answer.
    with socket.create_server(('127.0.0.1', 0), backlog=0) as silent:
        clients = [socket.socket() for _ in range(4)]
        for client in clients:
            client.setblocking(False)
            client.connect_ex(silent.getsockname())
        connect_ex = socket.socket.connect_ex
        monkeypatch.setattr(
            socket.socket,
            'connect_ex',
            lambda self, address: connect_ex(
                self, silent.getsockname() if address[0] == '192.0.2.1' else address
            ),
        )
        monkeypatch.setattr(
            messenger, 'own_addresses', lambda interface: ['192.0.2.1'] * 9 + ['127.0.0.2']
        )
        monkeypatch.setattr(messenger, 'LOOPBACK', '192.0.2.1')
        monkeypatch.setattr(messenger, 'CONNECT_SECONDS', LONG_SECONDS)
        check_exchanged(run_ranks(2, exchange))
        for client in clients:
            client.close()


def test_a_host_name_without_an_address_is_an_error_only_if_no_address_works(monkeypatch):
    monkeypatch.setattr(socket, 'gethostname', lambda: 'no-such-host.invalid')
    check_exchanged(run_ranks(2, exchange))
    monkeypatch.setattr(messenger, 'host_identity', lambda: str(threading.get_ident()))
    monkeypatch.setattr(messenger, 'own_addresses', lambda interface: ['no-such-address.invalid'])
    monkeypatch.setattr(messenger, 'HOST_NAME_SECONDS', 0.5)
    monkeypatch.setattr(messenger, 'CONNECT_SECONDS', 2)
    for error in run_ranks(2, exchange):
        assert isinstance(error, RuntimeError)
        assert 'rank 1: ConnectionError: cannot reach rank 0 at port' in str(error)
        assert 'no-such-host.invalid: ' in str(error) and 'ranks [1] did not connect' in str(error)


def test_an_invalid_host_name_is_like_one_without_an_address(monkeypatch):
    monkeypatch.setattr(socket, 'gethostname', lambda: f'{"a" * 70}.invalid')
    monkeypatch.setattr(messenger, 'host_identity', lambda: str(threading.get_ident()))
    monkeypatch.setattr(messenger, 'own_addresses', lambda interface: ['no-such-address.invalid'])
    monkeypatch.setattr(messenger, 'HOST_NAME_SECONDS', 0.5)
    monkeypatch.setattr(messenger, 'CONNECT_SECONDS', 2)
    for error in run_ranks(2, exchange):
        assert isinstance(error, RuntimeError)
        assert 'rank 1: ConnectionError: cannot reach rank 0' in str(error)


def test_the_package_can_be_imported_without_posix_modules():
    subprocess.run(
        [
            sys.executable,
            '-c',
            'import sys; sys.modules["resource"] = None\n'
            'sys.modules["fcntl"] = None\nimport chainer_ssd',
        ],
        check=True,
        env={**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path)},
    )


def test_all_ranks_get_the_error_if_rank_0_has_no_port():
    with socket.create_server(('127.0.0.1', 0)) as taken:
        port = taken.getsockname()[1]
        errors = run_ranks(3, lambda comm: exchange(comm, port=port))
    (text,) = {str(error) for error in errors}
    assert text.startswith('rank 0: OSError: ') and f'cannot listen on port {port}' in text


def test_all_ranks_get_the_error_if_rank_0_cannot_list_its_addresses(monkeypatch):
    def own_addresses(interface):
        raise OSError(1, 'Operation not permitted')

    monkeypatch.setattr(messenger, 'own_addresses', own_addresses)
    errors = run_ranks(3, exchange)
    assert {str(error) for error in errors} == {
        'rank 0: PermissionError: [Errno 1] Operation not permitted'
    }


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'port': -1}, 'port = -1: expected'),
        ({'port': 65536}, 'port = 65536: expected'),
        ({'interface': 'eth77'}, "interface = 'eth77': expected one of ['"),
        ({'interface': '192.0.2.7'}, "interface = '192.0.2.7': expected"),
    ],
)
def test_a_wrong_port_or_interface_is_named_on_all_ranks(options, message):
    for error in run_ranks(2, lambda comm: exchange(comm, **options)):
        assert message in str(error)


@pytest.mark.parametrize('interface', ['lo', '127.0.0.1'])
def test_the_port_and_the_interface_can_be_chosen(interface):
    with socket.create_server(('127.0.0.1', 0)) as free:
        port = free.getsockname()[1]
    seen = []

    def program(comm):
        if comm.rank:
            return exchange(comm, port=port, interface=interface)
        result = exchange(comm, port=port, interface=interface)
        return result

    class WatchedDoor(Door):
        def __init__(self, *args):
            super().__init__(*args)
            seen.append(self._listener.getsockname())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(messenger, 'Door', WatchedDoor)
        check_exchanged(run_ranks(2, program))
    assert seen == [('127.0.0.1', port)]


def test_addresses_of_an_interface():
    assert addresses.own_addresses('lo')[0] == '127.0.0.1'
    assert addresses.own_addresses()[-1] == '127.0.0.1'


def test_another_host_is_not_offered_the_loopback_address(monkeypatch):
    called = []

    class WatchedCaller(Caller):
        def __init__(self, selector, secret, rank, names, *args):
            called.append(names)
            super().__init__(selector, secret, rank, names, *args)

    monkeypatch.setattr(messenger, 'Caller', WatchedCaller)
    check_exchanged(run_ranks(2, exchange))
    assert called.pop()[0] == '127.0.0.1'
    monkeypatch.setattr(messenger, 'host_identity', lambda: str(threading.get_ident()))
    monkeypatch.setattr(messenger, 'own_addresses', lambda interface: ['192.0.2.1', '127.0.0.1'])
    monkeypatch.setattr(messenger, 'HOST_NAME_SECONDS', 0.2)
    run_ranks(2, exchange)
    assert called == [['192.0.2.1']]


def abort(connection):
    """Close a connection by a TCP reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b'\1\0\0\0\0\0\0\0')
    connection.close()


def reset_link(messenger):
    """Break the connection of a rank, as a firewall does that has lost its state."""
    (link,) = messenger._links.values()
    messenger._selector.unregister(link.connection)
    abort(link.connection)
    link.connection = None
    messenger._next_attempt = 0


@pytest.mark.parametrize('resetting', [0, 1])
def test_a_rank_connects_again_after_a_reset(resetting):
    meeting = threading.Barrier(2)

    def program(comm):
        with contextlib.closing(Messenger(comm, timeout=10)) as link:
            meeting.wait(20)
            if comm.rank == resetting:
                reset_link(link)
            found, end = set(), time.monotonic() + 3
            while time.monotonic() < end:  # what is under way during the reset is lost
                link.send(f'from {comm.rank}')
                found.update(link.receive(0.1))
            meeting.wait(20)
            return found

    assert run_ranks(2, program) == [{(1, 'from 1')}, {(0, 'from 0')}]


def test_the_last_message_is_sent_again_to_a_rank_that_connects_again():
    meeting = threading.Barrier(2)

    def program(comm):
        with contextlib.closing(Messenger(comm, timeout=10)) as link:
            meeting.wait(20)
            if comm.rank:
                reset_link(link)  # what rank 0 sends on the old connection is lost
                meeting.wait(20)
                return receive(link, 1)
            link.send({'failure': 'x'}, is_last=True)
            meeting.wait(20)
            end = time.monotonic() + 3
            while time.monotonic() < end:
                link.receive(0.1)

    assert run_ranks(2, program)[1][0] == (0, {'failure': 'x'})


def test_a_rank_that_hears_nothing_connects_again():
    """Lost packets: TCP sends again after longer and longer pauses. A new connection is faster."""
    meeting = threading.Barrier(2)

    def program(comm):
        with contextlib.closing(Messenger(comm, timeout=5)) as link:
            (first,) = (each.connection for each in link._links.values())
            number = first.fileno()
            meeting.wait(20)
            end, messages = time.monotonic() + 2.5, []
            while time.monotonic() < end:  # rank 0 sends nothing
                messages += link.receive(0.1)
            assert messages == []
            (second,) = (each.connection for each in link._links.values())
            meeting.wait(20)
            link.send('still here')
            assert receive(link, 1) == [(1 - comm.rank, 'still here')]
            meeting.wait(20)
            return second is not first and number

    assert all(run_ranks(2, program))


def test_a_rank_that_does_not_come_back_is_dead(monkeypatch):
    monkeypatch.setattr(messenger, 'RESET_SECONDS', 1.0)
    meeting = threading.Barrier(2)

    def program(comm):
        link = Messenger(comm, timeout=20)
        meeting.wait(20)
        if comm.rank:
            reset_link(link)
            link.close()
            return None
        with contextlib.closing(link):
            return receive(link, 1)

    assert run_ranks(2, program)[0] == [(1, None)]


def test_rank_0_that_has_ended_is_dead():
    def program(comm):
        with contextlib.closing(Messenger(comm, timeout=60)) as link:
            if comm.rank:
                began = time.monotonic()
                assert receive(link, 1) == [(0, None)]
                return time.monotonic() - began

    assert run_ranks(2, program)[1] < 10


SILENT = """
import resource, socket, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[2]) + 100,) * 2)
address = '127.0.0.1', int(sys.argv[1])
others = [socket.create_connection(address) for _ in range(int(sys.argv[2]))]
print('connected', flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize('moment', ['before', 'during'])
def test_silent_connections_do_not_end_a_job_with_few_open_files(monkeypatch, moment):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    monkeypatch.setattr(resource, 'setrlimit', lambda *limits: None)  # the system allows no more
    set_limit = resource.prlimit
    set_limit(0, resource.RLIMIT_NOFILE, (400, hard))
    processes, lines = [], []

    def connect_silently(port):
        command = [sys.executable, '-c', SILENT, str(port), '1100']
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        processes.append(process)
        threading.Thread(target=lambda: lines.append(process.stdout.readline())).start()

    class WatchedDoor(Door):
        def __init__(self, *args):
            super().__init__(*args)
            if moment == 'before':
                connect_silently(self.port)

    monkeypatch.setattr(messenger, 'Door', WatchedDoor)
    try:

        def program(comm):
            with contextlib.closing(Messenger(comm, timeout=30)) as link:
                if comm.rank == 0 and moment == 'during':
                    connect_silently(link._door.port)
                while not lines:
                    link.send(comm.rank)
                    end = time.monotonic() + 0.2
                    found = []
                    while time.monotonic() < end:
                        found += link.receive(0.05)
                    assert (1 - comm.rank, None) not in found
                if comm.rank == 0:
                    assert len(link._door._strangers) <= 2 * 2 + door.SPARE_STRANGERS
                return 'alive'

        assert run_ranks(2, program) == ['alive', 'alive']
        assert lines == ['connected\n']
    finally:
        set_limit(0, resource.RLIMIT_NOFILE, (soft, hard))
        for process in processes:
            process.kill()
            process.communicate()


ALL_RANKS = """
import selectors, sys, time
from chainer_ssd.runtime.open_files import raise_open_file_limit
from chainer_ssd.runtime.watchdog.caller import Caller
port, size, secret = int(sys.argv[1]), int(sys.argv[2]), bytes.fromhex(sys.argv[3])
raise_open_file_limit(4 * size)
selector, connected = selectors.DefaultSelector(), []
for rank in range(1, size):
    Caller(selector, secret, rank, ['127.0.0.1', '127.0.0.2'], port, connected.append).start()
while len(connected) < size - 1:
    for key, _ in selector.select():
        if key.fileobj.fileno() >= 0:
            key.data()
print('all connected', flush=True)
sys.stdin.read()
"""


def test_a_thousand_ranks_connect_if_1024_files_may_be_open():
    size, secret = 1024, bytes(range(32))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 8 * size:
        pytest.skip(f'this system allows {hard} open files: both sides of 1,024 ranks need more')
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
    peers, selector = {}, selectors.DefaultSelector()
    entrance = Door(selector, secret, size, 0, None, peers.__setitem__)
    try:
        with subprocess.Popen(
            [sys.executable, '-c', ALL_RANKS, str(entrance.port), str(size), secret.hex()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path)},
        ) as others:
            end = time.monotonic() + 60
            while len(peers) < size - 1 and time.monotonic() < end:
                for key, _ in selector.select(1):
                    if key.fileobj.fileno() >= 0:
                        key.data()
                entrance.check_time()
            assert sorted(peers) == list(range(1, size))
            assert others.stdout.readline() == 'all connected\n'
    finally:
        entrance.close()
        for peer in peers.values():
            peer.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
