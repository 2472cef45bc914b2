import os
import signal

pythonpath = os.path.dirname(__file__)
worker_class = "gthread"
workers = 2
threads = 8
graceful_timeout = 20

# Told to end, gunicorn closes kept connections at once, perhaps just as a request is on its way. With what follows it first
# answers for two more seconds with `Connection: close`, so that clients open another one.
LAME_DUCK_S = 2
draining = False


def pre_request(worker, request):
    if draining:
        request.force_close()


def post_worker_init(worker):
    def drain(*_):
        global draining
        draining = True

    signal.signal(signal.SIGUSR1, drain)


def when_ready(arbiter):
    def drain(*_):
        signal.signal(signal.SIGTERM, arbiter.signal)
        arbiter.kill_workers(signal.SIGUSR1)
        signal.alarm(LAME_DUCK_S)

    signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    signal.signal(signal.SIGTERM, drain)
