import com.sun.net.httpserver.BasicAuthenticator;
import com.sun.net.httpserver.HttpContext;
import com.sun.net.httpserver.HttpServer;
import java.lang.instrument.Instrumentation;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.concurrent.Executors;
import org.jolokia.backend.BackendManager;
import org.jolokia.config.ConfigKey;
import org.jolokia.config.Configuration;
import org.jolokia.http.HttpRequestHandler;
import org.jolokia.restrictor.AllowAllRestrictor;
import org.jolokia.util.LogHandler;
import org.json.simple.JSONAware;

/** The real Jolokia core behind the JDK's own HTTP server: -javaagent:agent.jar=PORT[:USER:PASSWORD]. */
public class JolokiaAgent {
  private static final LogHandler QUIET = new LogHandler() {
    public void debug(String message) {}
    public void info(String message) {}
    public void error(String message, Throwable cause) {}
    public boolean isDebug() { return false; }
  };

  public static void premain(String argument, Instrumentation instrumentation) throws Exception {
    String[] parts = argument.split(":");
    Configuration configuration = new Configuration(ConfigKey.AGENT_ID, "test");
    BackendManager manager = new BackendManager(configuration, QUIET, new AllowAllRestrictor());
    HttpRequestHandler handler = new HttpRequestHandler(configuration, manager, QUIET);
    HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", Integer.parseInt(parts[0])), 0);
    HttpContext context = server.createContext("/jolokia", exchange -> {
      JSONAware answer;
      try {
        answer = handler.handlePostRequest("/jolokia", exchange.getRequestBody(), "UTF-8", new HashMap<>());
      } catch (Throwable thrown) {
        answer = handler.handleThrowable(thrown);
      }
      byte[] body = answer.toJSONString().getBytes(StandardCharsets.UTF_8);
      exchange.getResponseHeaders().set("Content-Type", "application/json");
      exchange.sendResponseHeaders(200, body.length);
      exchange.getResponseBody().write(body);
      exchange.close();
    });
    if (parts.length == 3) {
      context.setAuthenticator(new BasicAuthenticator("jolokia") {
        public boolean checkCredentials(String user, String password) {
          return user.equals(parts[1]) && password.equals(parts[2]);
        }
      });
    }
    server.setExecutor(Executors.newCachedThreadPool(task -> {
      Thread thread = new Thread(task);
      thread.setDaemon(true);
      return thread;
    }));
    server.start();
  }
}
