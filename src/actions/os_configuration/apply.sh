# As root on the node: applies the manifest on standard input. `timeout` leads the process group, so that all of it ends together.
# $1 = process that asked; when it is gone (stopped, cancelled), nothing goes on   $2 = install puppet where it is missing: yes or no
# $3 = seconds to wait for another run. Exit status: that of `puppet apply --detailed-exitcodes`, or 70 and above, said on standard error.
asker=$1 install=$2 patience=$3
umask 077
PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/opt/puppetlabs/bin
fail() { status=$1; shift; echo "headroom: $*" >&2; exit "$status"; }

dir=$(mktemp -d /tmp/headroom-puppet.XXXXXXXX) || fail 70 'no temporary folder could be made'
trap 'rm -rf "$dir"' EXIT
# What puppet executes has a session of its own and outlives it; a mark in its environment finds it.
export HEADROOM_PUPPET="$dir"
stop() {
  for file in $(grep -lzxF "HEADROOM_PUPPET=$dir" /proc/[0-9]*/environ 2>/dev/null); do
    pid=${file#/proc/} pid=${pid%/environ}
    [ "$pid" = $$ ] || kill -s KILL "$pid" 2>/dev/null
  done
  exit 143
}
trap stop HUP INT TERM
group=$PPID
{ while kill -0 "$asker"; do sleep 1; done; kill -s TERM -- "-$group"; } </dev/null >/dev/null 2>&1 &
watcher=$!
trap 'kill -s KILL "$watcher" 2>/dev/null; rm -rf "$dir"' EXIT
cat >"$dir/manifest.pp" || fail 70 "the manifest could not be written to $dir"

try() { "$@" </dev/null 2>&1; }
install_by() {
  if command -v apt-get >/dev/null; then
    export DEBIAN_FRONTEND=noninteractive
    set -- apt-get -y -q -o DPkg::Lock::Timeout=60
    try "$@" install --no-install-recommends puppet-agent || {
      try "$@" update && { try "$@" install --no-install-recommends puppet-agent || try "$@" install --no-install-recommends puppet; }
    }
  elif command -v dnf >/dev/null; then
    try dnf -y -q install puppet-agent || try dnf -y -q install puppet
  elif command -v yum >/dev/null; then
    try yum -y -q install puppet-agent || try yum -y -q install puppet
  elif command -v zypper >/dev/null; then
    try zypper --non-interactive install puppet-agent || try zypper --non-interactive install puppet
  else
    fail 72 'puppet is missing, and none of apt-get, dnf, yum and zypper is there to install it'
  fi
}
if ! command -v puppet >/dev/null; then
  [ "$install" = yes ] || fail 72 'puppet is missing, and the action says install_puppet: false'
  echo 'puppet is missing: installing it'
  install_by && hash -r && command -v puppet >/dev/null || fail 73 'puppet is missing and could not be installed; see what its output says'
  # The package may start an agent that asks a machine named "puppet" for orders.
  if command -v systemctl >/dev/null; then try systemctl disable --now puppet >/dev/null; fi
fi

# Two runs on one node would undo each other's work.
alone=
if command -v flock >/dev/null; then alone="flock -o -w $patience -E 71 /run/headroom-puppet.lock"; fi
try $alone puppet apply --detailed-exitcodes --color=false --lastrunfile "$dir/summary.yaml" --lastrunreport "$dir/report.yaml" "$dir/manifest.pp"
status=$?
[ "$status" != 71 ] || fail 71 'another run of puppet on this node did not end in time'
if [ -s "$dir/summary.yaml" ]; then cat "$dir/summary.yaml" >&2; fi
exit "$status"
