"""The newest adopted policy, read from the `config` stream when the shared page says that it has moved."""

from types import MappingProxyType

import msgspec

from interlock.errors import TransientError
from interlock.gateway import Credential, Deployment, Policy
from interlock.gateway.withdrawal import Standing, fold
from interlock.identity import CONFIG, Generation
from interlock.local.child import KEY_ENV
from interlock.log import Stored
from interlock.log.sqlite import SqliteLog


class PolicySource:
    """For one worker. A memory read where nothing is new; SQLite is read only where something is."""

    policy: Policy | None = None
    """The newest."""
    withdrawals: Standing = MappingProxyType({})
    """What stands withdrawn."""

    def __init__(self, log: SqliteLog, generation: Generation, local_url: str) -> None:
        self._log = log
        self._slots = generation.slots
        self._local_url = local_url
        self._seq = 0
        self.seen = 0
        """The shared page's value up to which this worker has looked."""

    def newer(self) -> bool:
        """Take up what is new; whether there was anything. Raises: InterlockError: the stream cannot be read."""
        head = self._slots[CONFIG]
        if head <= self.seen:
            return False
        stream = self._log.read_after("config", self._seq)
        newest = next((each for each in reversed(stream) if each.record.type == "policy.adopted"), None)
        # One that cannot be read is not passed over: the older policy must not stay in force unsaid.
        policy = self._placed(_decoded(newest)) if newest is not None else self.policy
        withdrawals = self.withdrawals
        for stored in stream:
            withdrawals = _folded(withdrawals, stored)
        self.policy, self.withdrawals = policy, withdrawals
        self._seq = stream[-1].seq if stream else self._seq
        self.seen = head
        return True

    def _placed(self, policy: Policy) -> Policy:
        """Say where the managed model is: that differs from start to start, so it is not part of the policy."""

        def place(deployment: Deployment) -> Deployment:
            if deployment.provider != "local" or deployment.base_url:
                return deployment
            return msgspec.structs.replace(
                deployment, base_url=f"{self._local_url}/v1", credential=Credential(env=KEY_ENV)
            )

        deployments = {name: place(deployment) for name, deployment in policy.deployments.items()}
        return msgspec.structs.replace(policy, deployments=deployments)


def _folded(standing: Standing, stored: Stored) -> Standing:
    try:
        return fold(standing, stored.record.type, stored.record.payload)
    except msgspec.DecodeError as error:
        why = f"record {stored.seq} of stream 'config' is not a withdrawal known here: {error}"
        raise TransientError(why, code="not_ready") from error


def _decoded(stored: Stored) -> Policy:
    try:
        return msgspec.json.decode(stored.record.payload, type=Policy)
    except msgspec.DecodeError as error:
        why = f"record {stored.seq} of stream 'config' is not a policy known here: {error}"
        raise TransientError(why, code="not_ready") from error
