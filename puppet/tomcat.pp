# Tomcat, with a heap that fits the machine and a page that a health check can ask for: http://NODE:8080/health.txt
# As an action: { name: tomcat, kind: OSConfiguration, puppetfile: tomcat.pp }

$version = $facts['os']['family'] ? {
  'Debian' => versioncmp($facts['os']['release']['major'], '12') ? { -1 => 'tomcat9', default => 'tomcat10' },
  default  => 'tomcat',
}
# Half of the machine's memory, and the rest for the system's cache.
$heap_mb = Integer($facts['memory']['system']['total_bytes'] / 2097152)
$webapps = $facts['os']['family'] ? {
  'Debian' => "/var/lib/${version}/webapps",
  default  => '/var/lib/tomcat/webapps',
}

package { $version:
  ensure => installed,
}

file { "/etc/systemd/system/${version}.service.d":
  ensure => directory,
}
-> file { "/etc/systemd/system/${version}.service.d/headroom.conf":
  ensure  => file,
  mode    => '0644',
  content => "[Service]\nEnvironment=\"CATALINA_OPTS=-Xms${heap_mb}m -Xmx${heap_mb}m -XX:+ExitOnOutOfMemoryError\"\nLimitNOFILE=65536\nRestart=on-failure\n",
  require => Package[$version],
}
~> exec { 'reread the units':
  command     => 'systemctl daemon-reload',
  path        => ['/bin', '/usr/bin'],
  onlyif      => 'test -d /run/systemd/system',
  refreshonly => true,
}
~> Service[$version]

file { ["${webapps}/ROOT"]:
  ensure  => directory,
  require => Package[$version],
}
-> file { "${webapps}/ROOT/health.txt":
  ensure  => file,
  mode    => '0644',
  content => "ok\n",
}

service { $version:
  ensure  => running,
  enable  => true,
  require => Package[$version],
}
