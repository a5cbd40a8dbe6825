"""The running gate: the one place where everything is put together, and the only clock.

Order of starting: configuration, what the machine lacks, the lock, sockets, the metrics' port, the queue,
and the rules last, so that a fault leaves nothing behind. Order of ending: in monitor the rules go with
the gate; in enforce they stay, and traffic stays closed until a gate runs again or ``wakeguard off``.
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Collection
from contextlib import ExitStack
from functools import partial
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING

from guard.commands import Commands
from guard.config import Config, check_interfaces, load_config, ruleset_spec
from guard.control import Answer, ControlServer
from guard.core.engine import Engine
from guard.core.policy import Policy
from guard.core.verdict import Mode
from guard.errors import WakeguardError
from guard.gate import Gate
from guard.journalist import Journalist, start_journal
from guard.kernel_share import KernelShare
from guard.loop import Loop
from guard.losses import LossWatch
from guard.netfilter import kernel, ruleset
from guard.netfilter.queue import PacketQueue, Pause
from guard.netfilter.reset import Resetter
from guard.notify import get_watchdog_interval, notify
from guard.pauses import Pauses
from guard.policies import PolicySwitch, warn_without_model
from guard.reload import Reload, make_settings
from guard.reporter import Reporter
from guard.sensors import SensorSocket
from guard.state import StateDirectory
from guard.switch import ModeSwitch
from guard.unix_socket import get_uids

if TYPE_CHECKING:
    from guard.recording import Recording
    from guard.telemetry.log import Log


def run(
    config: Config,
    *,
    path: Path,
    log: Log,
    record: Path | None = None,
    decisions: Path | None = None,
) -> None:
    """Run the gate until SIGTERM, SIGINT or ``stop``. WakeguardError when it cannot start.

    ``path`` is where ``config`` was read and a reload reads again; ``record`` names a directory for a
    recording, ``decisions`` a file for every decision.
    """
    check_interfaces(config)
    control_uids = _with_own(get_uids(config.control.users, key="control.users"))
    sensor_users = config.sensors.users if config.sensors is not None else ()
    sensor_uids = _with_own(get_uids(sensor_users, key="sensors.users"))
    state = StateDirectory(Path(config.state.directory))
    mode = state.load_mode() or config.mode
    kernel.check_requirements(ruleset_spec(config, mode))
    with ExitStack() as stack:
        stack.enter_context(state)
        mode = state.load_mode() or config.mode  # now that nobody else can change it
        daemon = _Daemon(config, mode, state, stack, log, decisions)
        daemon.bind_sensors(sensor_uids)
        daemon.bind_control(control_uids, path)
        if config.metrics.enabled:
            daemon.serve_metrics()
        if record is not None:
            daemon.start_recording(record)
        if decisions is not None:
            daemon.log_decisions(decisions)
        daemon.bind_queue()
        daemon.serve()


class _Daemon:
    """One gate's parts; each takes itself apart when ``stack`` ends."""

    def __init__(
        self,
        config: Config,
        mode: Mode,
        state: StateDirectory,
        stack: ExitStack,
        log: Log,
        decisions: Path | None,
    ) -> None:
        self._loop = stack.enter_context(Loop(clock=time.monotonic, on_error=self._report_error))
        chosen = state.load_policies()
        self._policies = PolicySwitch(chosen, store=state.store_policies, call=self._loop.call, log=log)
        effective = self._policies.overlay(config)
        warn_without_model(effective, log)
        self._forced = effective.get_policies()
        self._settings = make_settings(effective)
        self._policy = config.load_limits().make_policy()
        engine = Engine(self._policy, self._settings.devices, mode=mode, list_records=decisions is not None)
        self.gate = Gate(engine, config.get_device_names(), clock=time.monotonic_ns, mode=mode)
        self._share = KernelShare(config.fast_path, self.gate, log=log)
        self.resets = Resetter(on_failure=self._report_reset)
        self._config = config
        self._stack = stack
        self._log = log
        self._state = state
        self._pauses = Pauses(self.gate, log=log, clock=time.monotonic)
        self._pauses.on_begin = self._share.forget_condemned
        self._journalist: Journalist | None = None
        self._queue = PacketQueue(config.network.queue)
        self._sensors: dict[str, SensorSocket] = {}
        self._recording: Recording | None = None
        self._stop_answers: list[Answer] = []
        self._release = False
        self._fault: WakeguardError | None = None
        self._losses = LossWatch(self._queue, note=self._note_failure, log=log)
        interval = get_watchdog_interval()
        self._watchdog = inf if interval is None else interval
        self._next_watchdog = inf if interval is None else 0.0
        self._switch: ModeSwitch
        self._reporter: Reporter
        self._control: ControlServer
        self._mode = mode
        self._epoch_ns = _read_epoch_ns()

    def bind_sensors(self, uids: Collection[int]) -> None:
        """Listen to the sensing process."""
        settings = self._config.sensors
        if settings is None:
            return
        for name, path in self._config.get_sensor_paths().items():
            sensor = SensorSocket(
                path,
                uids=uids,
                max_per_second=settings.max_per_second,
                max_age=self._policy.alive_timeout_s,
                listed=bool(settings.users),
                now=time.monotonic(),
            )
            self._stack.callback(sensor.close)
            self._sensors[name] = sensor
            self._loop.listen(sensor.fileno(), partial(self._receive_events, name))

    def bind_control(self, uids: Collection[int], path: Path) -> None:
        """Listen to the command line."""
        config = self._config
        self._switch = ModeSwitch(
            self.gate,
            mode=self._mode,
            apply=self._apply,
            set_queue_mode=self._queue.set_mode,
            store=self._state.store_mode,
            call=self._loop.call,
            log=self._log,
            before=partial(self._pauses.end_all, "the mode was switched"),
            after=partial(self._note_change, "mode"),
        )
        self._reporter = Reporter(
            self._policies.overlay(config),
            self._policy,
            self.gate,
            self._loop,
            sensors=self._sensors,
            queue=self._queue,
            get_mode=lambda: self._switch.mode,
            get_recording=self._get_recording,
            count_resets=self._count_resets,
            pauses=self._pauses,
            get_journalist=lambda: self._journalist,
        )
        reload = Reload(
            config,
            self.gate,
            self._switch,
            policies=self._policies,
            load=lambda: load_config(path),
            take_over=self._take_over,
            log=self._log,
        )
        self._loop.on_hang_up = lambda: reload.request(lambda _: None)
        commands = Commands(
            self.gate,
            self._reporter,
            self._switch,
            pauses=self._pauses,
            policies=self._policies,
            get_journalist=lambda: self._journalist,
            call=self._loop.call,
            reload=reload.request,
            stop=self._stop,
        )
        self._control = ControlServer(
            Path(config.control.socket),
            uids=uids,
            listed=bool(config.control.users),
            commands=commands.table,
            selector=self._loop.selector,
            clock=time.monotonic,
        )
        self._stack.callback(self._control.close)
        self._stack.callback(self._answer_stop)

    def serve_metrics(self) -> None:
        """Serve Prometheus."""
        from guard.telemetry.metrics import MetricsServer  # brings an HTTP server along

        metrics = self._config.metrics
        server = MetricsServer(self._reporter.read_from_thread, address=metrics.address, port=metrics.port)
        self._stack.enter_context(server)

    def start_recording(self, directory: Path) -> None:
        """Write down what the engine is told."""
        from guard.recorded import Recorder  # few gates record
        from guard.recording import Recording

        recorder = Recorder(
            directory,
            settings=self._settings,
            epoch_ns=self._epoch_ns,
            mode=self._mode,
        )
        self._recording = Recording(recorder, on_failure=self._report_recording)
        self._stack.callback(self._recording.close)
        self.gate.witness = self._recording
        self._log.info("recording", directory=str(directory))

    def log_decisions(self, path: Path) -> None:
        """Write every decision down, as a replay of the recording would."""
        from guard.decisions import DecisionLog  # as few

        log = DecisionLog(path, self.gate.engine, epoch_ns=self._epoch_ns, on_failure=self._report_recording)
        self.gate.audit = self._stack.enter_context(log)

    def bind_queue(self) -> None:
        """Take the queue, put the rules in place and let the packets in that come by them."""
        self._queue.bind(self.gate.receive, clock=time.monotonic_ns, mode=self._mode)
        self._stack.callback(self._queue.close)
        self.gate.messenger = self.resets
        self._stack.callback(self.resets.close)
        self._apply(self._mode)
        if self._config.journal.enabled:
            self._journalist = start_journal(
                self._config, self.gate, call=self._loop.call, read_epoch_ns=_read_epoch_ns, log=self._log
            )
            self._pauses.note = self._journalist.note_pause
            self._stack.callback(self._journalist.close)
        self._receive_packets()  # what rules of an earlier gate have queued: answered unjudged
        self.gate.open = True
        gc.collect()
        gc.freeze()  # what exists now stays: the collector need not look at it again
        self._log.info(
            "ready",
            mode=self._mode.value,
            policy=self._config.policy,
            devices=list(self.gate.devices),
            queue=self._queue.number,
            period_scale=self._config.lab.period_scale,
        )
        notify("READY=1")

    def serve(self) -> None:
        """Take turns until the end, then leave the rules as the mode wants them."""
        try:
            self._loop.run(
                packets=self._queue.fileno(),
                on_packets=self._receive_packets,
                on_timer=self._handle_timers,
                get_due=self._get_due,
                housekeeping=self._keep_house,
            )
        finally:
            notify("STOPPING=1")
            self._switch.wait()
            self._policies.wait()
            self._pauses.end_all("the gate ended")
            self.gate.finish()
            self._share.finish()
            self._leave()

    def _leave(self) -> None:
        mode = self._switch.mode
        if mode is Mode.ENFORCE and not self._release:
            self._log.warning("stopped", mode=mode.value, traffic="closed", remedy="wakeguard off opens it")
            return
        try:
            ruleset.remove()
        except WakeguardError as error:
            self._fault = error
            if not self._stop_answers:
                raise
        self._log.info("stopped", mode=mode.value, traffic="ungated")

    def _apply(self, mode: Mode) -> None:
        spec = ruleset_spec(self._config, mode)
        kernel.check_requirements(spec)
        with self._share.replacing():
            ruleset.apply(spec)

    def _handle_timers(self) -> None:
        self._pauses.handle_timer()
        self.gate.handle_timer()

    def _get_due(self) -> float:
        return min(self.gate.engine.timer, self._pauses.get_due())

    def _take_over(self, config: Config, policy: Policy) -> None:
        before, self._forced = self._forced, config.get_policies()
        for name, chosen in self._forced.items():
            if chosen != before[name]:
                self._note_change("policy", before[name], chosen, name)
        self._reporter.take_over(config, policy)
        for sensor in self._sensors.values():
            sensor.max_age = policy.alive_timeout_s

    def _receive_packets(self) -> None:
        self.gate.start_batch()
        try:
            self._queue.run()
        except Pause:
            return

    def _receive_events(self, device: str) -> None:
        for event in self._sensors[device].receive(now=self.gate.read_clock()):
            self.gate.receive_event(event, device=device)

    def _stop(self, answer: Answer, release: bool) -> None:  # noqa: FBT001  # the protocol's own flag
        self._release = self._release or release
        self._stop_answers.append(answer)
        self._loop.stop()

    def _answer_stop(self) -> None:
        for answer in self._stop_answers:
            answer({"stopped": True} if self._fault is None else self._fault)

    def _keep_house(self) -> None:
        now = time.monotonic()
        self._share.keep_house(now=now)
        if now >= self._next_watchdog:
            self._next_watchdog = now + self._watchdog
            notify("WATCHDOG=1")
        self._control.drop_idle()
        if self._recording is not None:
            self._recording.flush()
        for notice in self.gate.engine.take_notices():
            self._log.warning(notice.kind.value, device=notice.device, bytes=notice.bytes)
            if self._journalist is not None:
                self._journalist.note_notice(notice)
        for name, sensor in self._sensors.items():
            if sensor.notice_silence(now=now):
                self._log.warning("sensor lost", device=name, remedy="see whether `wakeguard sense` runs")
                self._note_failure("sensor_lost", name)
        self._losses.look()
        if self._journalist is not None:
            self._journalist.keep_house()
        self._queue.flush()  # last: it raises as long as the kernel takes no verdict

    def _note_failure(self, kind: str, device: str = "", count: int = 0) -> None:
        if self._journalist is not None:
            self._journalist.note_failure(kind, device, count)

    def _note_change(self, what: str, before: str, after: str, device: str = "") -> None:
        if self._journalist is not None:
            self._journalist.note_change(what, before, after, device)

    def _count_resets(self) -> dict[str, int]:
        resets = self.resets
        return {"sent": resets.sent, "limited": resets.limited, "failed": resets.failed}

    def _get_recording(self) -> str:
        if self._recording is None:
            return "off"
        return "on" if self._recording.active else "failed"

    def _report_recording(self, error: WakeguardError) -> None:
        self._log.error("recording ended", fault=str(error))

    def _report_reset(self, error: OSError) -> None:
        self._log.warning(
            "reset failed",
            fault=str(error),
            effect="servers learn of a refused connection with their next packet",
        )

    def _report_error(self, error: Exception) -> None:
        self._log.error("handler error", exception=error)


def _read_epoch_ns() -> int:
    return time.time_ns() - time.monotonic_ns()


def _with_own(uids: Collection[int]) -> frozenset[int]:
    return frozenset(uids) | {0, os.geteuid()}
