"""What one attempt teaches of its deployment and of the credential that it used: to its circuit, and to its keys."""

from typing import TYPE_CHECKING

from interlock.gateway.failure import STRAY, Circuit, Fault, Keys

if TYPE_CHECKING:
    from interlock.gateway.service import Gateway


class Lesson:
    """Of one attempt. One of the last three is called, once, when it is over."""

    def __init__(self, gateway: "Gateway", circuit: Circuit, keys: Keys, key: int) -> None:
        self._gateway = gateway
        self._circuit = circuit
        self._keys = keys
        self._key = key
        self._era = STRAY
        self.unsayable = False
        """What the model wrote has no words in the client's format. Anybody can ask a model for nonsense: it must not
        close the deployment to everybody."""

    def begin(self) -> None:
        """It is about to be sent."""
        probes = self._circuit.state == "open"
        self._era = self._circuit.begin()
        if probes:
            self._gateway.circuits_moved()

    def spoke(self) -> None:
        """The first word has come."""
        if self._circuit.state != "closed":
            self._circuit.spoke(self._era, self._gateway.loop.time())
            self._gateway.circuits_moved()

    def worked(self) -> None:
        """The answer is complete."""
        closed = self._circuit.state == "closed"
        self._circuit.succeeded(self._era, self._gateway.loop.time())
        self._keys.worked(self._key)
        if not closed:
            self._gateway.circuits_moved()

    def unlearnt(self) -> None:
        """Its end says nothing of the deployment: a circuit that it was to try is as open as before."""
        self._circuit.ended(self._era)
        self._gateway.circuits_moved()

    def judged(self, fault: Fault, code: str, status: int, pause_s: float | None) -> None:
        """What its failure says. `status`: HTTP's; `pause_s`: what the upstream asked for."""
        now_s, keys, circuit = self._gateway.loop.time(), self._keys, self._circuit
        if fault.counts and not self.unsayable:
            circuit.failed(self._era, now_s, code)
        else:
            circuit.ended(self._era)
        if fault.key == "limited":
            keys.limited(self._key, now_s, pause_s)
        elif fault.key == "refused":
            keys.refused(self._key, now_s)
        if fault.key:
            circuit.cool(keys.soonest(now_s), f"credentials: {fault.key}")
        elif pause_s and fault.counts:
            circuit.cool(now_s + pause_s, f"with {status}")
        self._gateway.circuits_moved()
