import java.util.HashMap;
import java.util.Map;
import javax.management.MBeanServerConnection;
import javax.management.ObjectName;
import javax.management.openmbean.CompositeData;
import javax.management.remote.JMXConnector;
import javax.management.remote.JMXConnectorFactory;
import javax.management.remote.JMXServiceURL;
import javax.rmi.ssl.SslRMIClientSocketFactory;

/**
 * Reads attributes as any Java program does: URL, then MBean, attribute and key by turns; prints a value a line. Logs in with the
 * properties reader.user and reader.password, and asks the registry over TLS where a trust store is given.
 */
public class Reader {
  private static Map<String, Object> settings() {
    Map<String, Object> settings = new HashMap<>();
    String user = System.getProperty("reader.user");
    if (user != null) {
      settings.put(JMXConnector.CREDENTIALS, new String[] {user, System.getProperty("reader.password")});
    }
    // The JMX server says of itself that it speaks TLS, the registry cannot.
    if (System.getProperty("javax.net.ssl.trustStore") != null) {
      settings.put("com.sun.jndi.rmi.factory.socket", new SslRMIClientSocketFactory());
    }
    return settings;
  }

  public static void main(String[] arguments) throws Exception {
    try (JMXConnector connector = JMXConnectorFactory.connect(new JMXServiceURL(arguments[0]), settings())) {
      MBeanServerConnection server = connector.getMBeanServerConnection();
      for (int i = 1; i + 2 < arguments.length; i += 3) {
        Object value = server.getAttribute(new ObjectName(arguments[i]), arguments[i + 1]);
        for (String part : arguments[i + 2].isEmpty() ? new String[0] : arguments[i + 2].split("/")) {
          value = ((CompositeData) value).get(part);
        }
        System.out.println(value);
      }
      System.out.println(server.queryNames(null, null).size());
    }
  }
}
