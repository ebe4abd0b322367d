import java.lang.management.ManagementFactory;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.atomic.AtomicLong;
import javax.management.MBeanServer;
import javax.management.MXBean;
import javax.management.ObjectName;

/** What the tests look at: attributes of every kind, some of which cannot be read or sent. */
public class Target {
  public interface AppMBean {
    int getQueueDepth();
    long getRequests();
    double getLoad();
    double getNoNumber();
    boolean isUp();
    String getVersion();
    String getLimit();
    int[] getHistory();
    java.math.BigDecimal getPrice();
    AtomicLong getTotal();
    Object getNothing();
    int getBroken();
    Object getUnsendable();
  }

  public interface SlowMBean {
    int getQueueDepth();
    int getSlow() throws InterruptedException;
  }

  public static class Slow implements SlowMBean {
    public int getQueueDepth() { return 7; }
    public int getSlow() throws InterruptedException { Thread.sleep(60_000); return 1; }
  }

  public static class App implements AppMBean {
    private final AtomicLong requests = new AtomicLong();
    public int getQueueDepth() { return 7; }
    public long getRequests() { return requests.incrementAndGet(); }
    public double getLoad() { return 0.25; }
    public double getNoNumber() { return Double.NaN; }
    public boolean isUp() { return true; }
    public String getVersion() { return "1.2-\u00e9\ud83d\ude00\0"; }
    public String getLimit() { return " 1e3 "; }
    public int[] getHistory() { return new int[] {1, 2, 3}; }
    public java.math.BigDecimal getPrice() { return new java.math.BigDecimal("-1234567890123.45"); }
    public AtomicLong getTotal() { return new AtomicLong(5_000_000_000L); }
    public Object getNothing() { return null; }
    public int getBroken() { throw new IllegalStateException("the pool is closed"); }
    public Object getUnsendable() { return new Thread(); }
  }

  public static class Pool {
    private final long used;
    public Pool(long used) { this.used = used; }
    public long getUsed() { return used; }
    public Map<String, Integer> getParts() { return new TreeMap<>(Map.of("a.b", 3, "c", 4)); }
  }

  @MXBean
  public interface Pools {
    Map<String, Pool> getPools();
  }

  public static class PoolsImpl implements Pools {
    public Map<String, Pool> getPools() {
      return new TreeMap<>(Map.of("Eden Space", new Pool(42), "Old Gen", new Pool(43)));
    }
  }

  public static void main(String[] arguments) throws Exception {
    MBeanServer server = ManagementFactory.getPlatformMBeanServer();
    server.registerMBean(new App(), new ObjectName("lab:type=App,name=\"x,y\""));
    server.registerMBean(new Slow(), new ObjectName("lab:type=Slow"));
    server.registerMBean(new PoolsImpl(), new ObjectName("lab:type=Pools"));
    System.out.println("ready");
    Thread.sleep(Long.MAX_VALUE);
  }
}
