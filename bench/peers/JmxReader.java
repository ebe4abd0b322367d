import java.lang.management.ManagementFactory;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import javax.management.MBeanServerConnection;
import javax.management.ObjectName;
import javax.management.remote.JMXConnector;
import javax.management.remote.JMXConnectorFactory;
import javax.management.remote.JMXServiceURL;

/**
 * Reads three attributes over each of many logins that it holds, as JConsole does: PORT CONNECTIONS ROUNDS. Prints the CPU of the rounds in ms,
 * the samples, and its memory in KiB, as JSON.
 */
public class JmxReader {
  private static final String[][] ASKED = {
    {"java.lang:type=Memory", "HeapMemoryUsage"},
    {"java.lang:type=Threading", "ThreadCount"},
    {"lab:type=App,name=\"x,y\"", "QueueDepth"},
  };

  public static void main(String[] arguments) throws Exception {
    int connections = Integer.parseInt(arguments[1]);
    int rounds = Integer.parseInt(arguments[2]);
    JMXServiceURL url = new JMXServiceURL("service:jmx:rmi:///jndi/rmi://127.0.0.1:" + arguments[0] + "/jmxrmi");
    List<Callable<Integer>> readers = new ArrayList<>();
    List<JMXConnector> held = new ArrayList<>();
    for (int i = 0; i < connections; i++) {
      Map<String, Object> settings = new HashMap<>();
      settings.put(JMXConnector.CREDENTIALS, new String[] {"bench" + i, ""});
      JMXConnector connector = JMXConnectorFactory.connect(url, settings);
      held.add(connector);
      MBeanServerConnection server = connector.getMBeanServerConnection();
      readers.add(() -> read(server));
    }
    ExecutorService pool = Executors.newFixedThreadPool(4);
    // Its own compiler has the first rounds.
    for (int i = 0; i < rounds; i++) {
      round(pool, readers);
    }
    double before = cpuMs();
    int samples = 0;
    for (int i = 0; i < rounds; i++) {
      samples += round(pool, readers);
    }
    double used = cpuMs() - before;
    System.out.println("{\"cpu_ms\": " + used + ", \"samples\": " + samples + ", \"rss_kib\": " + memoryKib() + "}");
    pool.shutdown();
    for (JMXConnector connector : held) {
      connector.close();
    }
  }

  private static int read(MBeanServerConnection server) throws Exception {
    for (String[] one : ASKED) {
      if (server.getAttribute(new ObjectName(one[0]), one[1]) == null) {
        throw new IllegalStateException("no value of " + one[1]);
      }
    }
    return ASKED.length;
  }

  private static int round(ExecutorService pool, List<Callable<Integer>> readers) throws Exception {
    int samples = 0;
    for (Future<Integer> read : pool.invokeAll(readers)) {
      samples += read.get();
    }
    return samples;
  }

  private static double cpuMs() {
    return ((com.sun.management.OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean()).getProcessCpuTime() / 1e6;
  }

  private static long memoryKib() throws Exception {
    for (String line : java.nio.file.Files.readAllLines(java.nio.file.Path.of("/proc/self/status"))) {
      if (line.startsWith("VmRSS:")) {
        return Long.parseLong(line.replaceAll("[^0-9]", ""));
      }
    }
    throw new IllegalStateException("no VmRSS");
  }
}
