import java.util.HashMap;
import java.util.Map;
import javax.management.MBeanServerConnection;
import javax.management.ObjectName;
import javax.management.openmbean.CompositeData;
import javax.management.remote.JMXConnector;
import javax.management.remote.JMXConnectorFactory;
import javax.management.remote.JMXServiceURL;

/** Reads attributes as any Java program does: URL, then MBean, attribute and key by turns; prints a value a line. */
public class Reader {
  public static void main(String[] arguments) throws Exception {
    Map<String, Object> settings = new HashMap<>();
    try (JMXConnector connector = JMXConnectorFactory.connect(new JMXServiceURL(arguments[0]), settings)) {
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
