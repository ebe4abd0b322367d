# The fabfile that Headroom gives to `fab`: the operator's fabfile, behind a check of host keys.
# Fabric accepts any host key by itself; here a key that Headroom does not know is refused, for every connection that a task opens.
import importlib.util
import os
import sys

from fabric import Connection
from invoke import Collection
from paramiko import RejectPolicy

KNOWN_HOSTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "known_hosts")
plain_open = Connection.open


def checked_open(self, *args, **kwargs):
    if not self.is_connected:
        self.client.load_host_keys(KNOWN_HOSTS)
        self.client.set_missing_host_key_policy(RejectPolicy())
        # Nobody's keys but those of the node's profile.
        self.connect_kwargs = dict(self.connect_kwargs, look_for_keys=False, allow_agent=False)
    return plain_open(self, *args, **kwargs)


Connection.open = checked_open

fabfile = os.environ.pop("HEADROOM_FABFILE")
sys.path.insert(0, os.path.dirname(fabfile))
name = os.path.splitext(os.path.basename(fabfile))[0]
spec = importlib.util.spec_from_file_location(name, fabfile)
module = importlib.util.module_from_spec(spec)
sys.modules[name] = module
spec.loader.exec_module(module)
ns = Collection.from_module(module)
