"""TLS by URL: amqps:// works where the certificate is trusted, and is refused with a reason where it is not."""

import os
import socket
import ssl
import subprocess
import sys
import threading
from urllib.parse import urlsplit

import pytest
import trustme


class Terminator:
    """Takes TLS connections on loopback and hands what they carry to a broker."""

    def __init__(self, certificate, target):
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(self._context)
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self):
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=[near], daemon=True).start()

    def _serve(self, near):
        try:
            secure = self._context.wrap_socket(near, server_side=True)
        except OSError:  # it does not trust us: that is what one test is about
            near.close()
            return
        far = socket.create_connection(self._target)
        back = threading.Thread(target=self._pump, args=[far, secure], daemon=True)
        back.start()
        self._pump(secure, far)
        back.join()
        for each in (secure, far):
            each.close()

    @staticmethod
    def _pump(source, sink):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            return


@pytest.fixture
def authority():
    return trustme.CA()


@pytest.fixture
def secure_url(workqueue_broker, authority):
    parts = urlsplit(workqueue_broker.url)
    terminator = Terminator(authority.issue_cert("localhost"), (parts.hostname, parts.port))
    yield parts._replace(
        scheme="amqps", netloc=f"{parts.username}:{parts.password}@localhost:{terminator.port}"
    ).geturl()
    terminator.close()


def new_task(url, queue, trusted):
    return subprocess.run(
        [sys.executable, "-m", "workqueue", "new-task", "--queue", queue, "over TLS"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "WORKQUEUE_URL": url, "SSL_CERT_FILE": str(trusted)},
    )


def test_a_task_is_sent_over_tls(secure_url, authority, tmp_path, workqueue_stage):
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")

    sent = new_task(secure_url, workqueue_stage.queue.name, tmp_path / "ca.pem")

    assert sent.stdout == " [x] Sent 'over TLS'\n", sent.stderr
    assert [message.task for message in workqueue_stage.queue.drain()] == ["over TLS"]


def test_an_untrusted_certificate_is_refused_with_the_reason(secure_url, tmp_path, workqueue_stage):
    trustme.CA().cert_pem.write_to_path(tmp_path / "another.pem")

    refused = new_task(secure_url, workqueue_stage.queue.name, tmp_path / "another.pem")

    assert refused.returncode == 3
    assert "certificate" in refused.stderr.lower()
    assert urlsplit(secure_url).password not in refused.stderr
    assert workqueue_stage.queue.drain() == []


@pytest.mark.parametrize("command", [["new-task", "task"], ["worker"]], ids=["new-task", "worker"])
def test_a_port_that_does_not_speak_tls_is_told_as_such(run, workqueue_broker, command):
    program = run(*command, url=workqueue_broker.url.replace("amqp://", "amqps://"))

    program.expect_error(": [SSL: ")
    program.expect_error("as a rule 5672 for amqp://, and 5671 for amqps://, which is TLS")
