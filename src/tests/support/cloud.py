"""moto's server with what it lacks of EC2: `cloud.py SETTINGS`, where SETTINGS is JSON.

- a launch with a token that was used before gives the same instance, or IdempotentParameterMismatch when it asks for something else
- a new instance is pending for a while, a terminated one shutting-down for a while
- an instance that is registered twice is behind its balancer once
- a balancer drains an instance for a while after it was deregistered
- private addresses are handed out of a list, so that a real sshd can listen there
- instance types act out what EC2 does on bad days: `scarce.*` there is none of, `doomed.*` dies while pending, `mute.*` gets an address where nobody listens,
  `sick.*` is never healthy
"""

import json
import sys
import threading
import time

from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models.instances import InstanceBackend, StateReason
from moto.elb.responses import ELBResponse
from moto.elbv2.models import FakeHealthStatus, FakeTargetGroup
from moto.elb.models import ELBBackend
from moto.core.responses import ActionResult
from moto.server import main

settings = json.loads(sys.argv[1])
lock = threading.RLock()
launched = {}
draining = {}
handed_out = {}
sick = set()
MUTE = "127.0.0.250"


class Scarce(EC2ClientError):
    code = 500

    def __init__(self):
        super().__init__("InsufficientInstanceCapacity", "There is no Spot capacity available that matches your request.")


def refuse(code, message):
    raise EC2ClientError(code, message)


def later(seconds, work):
    timer = threading.Timer(seconds, work)
    timer.daemon = True
    timer.start()


def become(instance, name, code):
    instance._state.name, instance._state.code = name, code


def address(backend, instance_type, instance):
    if instance_type.startswith("mute."):
        return MUTE
    used = {a for i, a in handed_out.items() if is_live(backend, i)}
    free = [a for a in settings["addresses"] if a not in used]
    if free:
        handed_out[instance.id] = free[0]
        return free[0]
    return MUTE


def is_live(backend, instance_id):
    instances = (i for r in backend.reservations.values() for i in r.instances)
    return any(i.id == instance_id and i._state.name != "terminated" for i in instances)


def grown_up(instance, instance_type):
    if instance._state.name != "pending":
        return
    if instance_type.startswith("doomed."):
        # The reason first: whoever sees the one sees the other.
        instance.state_reason = StateReason("Server.InternalError: Internal error on launch", "Server.InternalError")
        become(instance, "terminated", 48)
    else:
        become(instance, "running", 16)


run_instances = InstanceBackend.run_instances


def run(self, image_id, count, user_data, security_group_names, **kwargs):
    token, kind = kwargs.get("client_token"), kwargs.get("instance_type") or ""
    asked = json.dumps([image_id, count, str(user_data), kind, kwargs.get("subnet_id"), kwargs.get("tags")], default=str, sort_keys=True)
    with lock:
        if (id(self), token) in launched:
            before, reservation = launched[id(self), token]
            if before != asked:
                refuse("IdempotentParameterMismatch", "The request uses the same client token as a previous, but non-identical request.")
            return reservation
        if kind.startswith("scarce."):
            raise Scarce()
        live = sum(i._state.name in ("pending", "running") for r in self.reservations.values() for i in r.instances)
        if live + count > settings["limit"]:
            refuse("InstanceLimitExceeded", f"Your quota allows for {settings['limit']} more running instances.")
        reservation = run_instances(self, image_id, count, user_data, security_group_names, **kwargs)
        launched[id(self), token] = (asked, reservation)
        if kind.startswith("sick."):
            sick.update(i.id for i in reservation.instances)
        for instance in reservation.instances:
            instance.nics[0].private_ip_address = address(self, kind, instance)
            become(instance, "pending", 0)
            later(settings["pending"], lambda i=instance: grown_up(i, kind))
    return reservation


terminate_instances = InstanceBackend.terminate_instances


def terminate(self, instance_ids):
    gone = {i.id for r in self.reservations.values() for i in r.instances if i._state.name == "terminated"}
    ended = terminate_instances(self, instance_ids)
    for instance, _ in ended:
        if instance.id not in gone:
            become(instance, "shutting-down", 32)
            later(settings["terminating"], lambda i=instance: become(i, "terminated", 48))
    return ended


def leave(balancer, ids):
    for each in ids:
        draining[balancer, each] = time.time() + settings["drain"]


def leaving(balancer):
    now = time.time()
    return [each for (name, each), until in draining.items() if name == balancer and until > now]


register_instances = ELBBackend.register_instances


def register(self, load_balancer_name, instance_ids, from_autoscaling=False):
    here = self.get_load_balancer(load_balancer_name).instance_ids
    new = [each for each in instance_ids if each not in here]
    return register_instances(self, load_balancer_name, new, from_autoscaling)


deregister_instances = ELBBackend.deregister_instances


def deregister(self, load_balancer_name, instance_ids, from_autoscaling=False):
    instance_ids = list(instance_ids)
    here = self.get_load_balancer(load_balancer_name).instance_ids
    leave(load_balancer_name, [each for each in instance_ids if each in here])
    return deregister_instances(self, load_balancer_name, instance_ids, from_autoscaling)


def classic_health(instance_id, state):
    if instance_id in sick:
        why = "Instance has failed at least the UnhealthyThreshold number of health checks consecutively."
        return {"InstanceId": instance_id, "State": "OutOfService", "Description": why, "ReasonCode": "Instance"}
    return {"InstanceId": instance_id, "State": state, "Description": "N/A", "ReasonCode": "N/A"}


def instance_health(self):
    name = self._get_param("LoadBalancerName")
    states = self.elb_backend.describe_instance_health(name, self._get_param("Instances", []))
    states = [classic_health(s["InstanceId"], s["State"]) for s in states]
    for each in leaving(name):
        states.append({"InstanceId": each, "State": "InService", "Description": "Instance deregistration currently in progress.", "ReasonCode": "N/A"})
    return ActionResult({"InstanceStates": states})


deregister_targets = FakeTargetGroup.deregister


def deregister_target(self, targets):
    leave(self.arn, [target["Id"] for target in targets if target["Id"] in self.targets])
    return deregister_targets(self, targets)


from moto.elbv2.models import ELBv2Backend  # noqa: E402

describe_target_health = ELBv2Backend.describe_target_health


def target_health(self, target_group_arn, targets):
    found = describe_target_health(self, target_group_arn, targets)
    for each in found:
        if each.instance_id in sick:
            each.status, each.reason, each.description = "unhealthy", "Target.FailedHealthChecks", "Health checks failed"
    group = self.target_groups[target_group_arn]
    for each in leaving(target_group_arn):
        found.append(FakeHealthStatus(each, group.port, group.health_check_port, "draining", "Target.DeregistrationInProgress", "Target deregistration is in progress"))
    return found


InstanceBackend.run_instances = run
InstanceBackend.terminate_instances = terminate
ELBBackend.register_instances = register
ELBBackend.deregister_instances = deregister
ELBResponse.describe_instance_health = instance_health
FakeTargetGroup.deregister = deregister_target
ELBv2Backend.describe_target_health = target_health
main(["-H", "127.0.0.1", "-p", str(settings["port"])])
