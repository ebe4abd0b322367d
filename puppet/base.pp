# A base system: the few things that every node should have, whatever it is for. No modules are needed.
# As an action: { name: base, kind: OSConfiguration, puppetfile: base.pp }

$time_service = $facts['os']['family'] ? {
  'Debian' => 'chrony',
  default  => 'chronyd',
}

package { ['ca-certificates', 'curl', 'logrotate', 'chrony']:
  ensure => installed,
}

# Readings and logs of different nodes are compared by time.
service { $time_service:
  ensure  => running,
  enable  => true,
  require => Package['chrony'],
}

# Many connections, as a web tier has.
file { '/etc/security/limits.d/90-headroom.conf':
  ensure  => file,
  mode    => '0644',
  content => "* soft nofile 65536\n* hard nofile 65536\n",
}

file { '/etc/sysctl.d/90-headroom.conf':
  ensure  => file,
  mode    => '0644',
  content => "net.core.somaxconn = 4096\nnet.ipv4.tcp_max_syn_backlog = 4096\nvm.swappiness = 10\n",
}
~> exec { 'apply the kernel settings':
  command     => 'sysctl -q -p /etc/sysctl.d/90-headroom.conf',
  path        => ['/sbin', '/usr/sbin', '/bin', '/usr/bin'],
  refreshonly => true,
}

# A log that fills the disk takes the node with it. Only where systemd keeps it.
if find_file('/run/systemd/system') or find_file('/etc/systemd/journald.conf') {
  file { '/etc/systemd/journald.conf.d':
    ensure => directory,
  }
  -> file { '/etc/systemd/journald.conf.d/90-headroom.conf':
    ensure  => file,
    mode    => '0644',
    content => "[Journal]\nSystemMaxUse=500M\n",
  }
}
