import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executor;
import java.util.concurrent.TimeUnit;
import org.infinispan.commons.dataconversion.MediaType;
import org.infinispan.configuration.cache.CacheMode;
import org.infinispan.configuration.cache.ConfigurationBuilder;
import org.infinispan.configuration.global.GlobalConfigurationBuilder;
import org.infinispan.manager.DefaultCacheManager;
import org.infinispan.server.core.admin.embeddedserver.EmbeddedServerAdminOperationHandler;
import org.infinispan.server.core.security.simple.SimpleServerAuthenticationProvider;
import org.infinispan.server.hotrod.HotRodServer;
import org.infinispan.server.hotrod.configuration.HotRodServerConfigurationBuilder;
import org.infinispan.tasks.Task;
import org.infinispan.tasks.TaskContext;
import org.infinispan.tasks.TaskManager;
import org.infinispan.tasks.spi.TaskEngine;
import org.infinispan.transaction.LockingMode;
import org.infinispan.transaction.TransactionMode;
import org.infinispan.transaction.lookup.EmbeddedTransactionManagerLookup;
import org.infinispan.util.concurrent.IsolationLevel;

/**
 * One node of the 9.4 line's Hot Rod server: java Legacy PORT NODE_NAME STACK_FILE USER PASSWORD
 *
 * STACK_FILE is the cluster's JGroups configuration, USER the only one who may log in; an empty
 * argument means no cluster, no authentication. Caches: those of a full server but for "json".
 */
public class Legacy {
    public static void main(String[] args) throws Exception {
        int port = Integer.parseInt(args[0]);
        boolean cluster = !args[2].isEmpty();

        GlobalConfigurationBuilder global = new GlobalConfigurationBuilder();
        if (cluster) {
            global.transport().defaultTransport().clusterName("hotrod-codec").nodeName(args[1])
                    .addProperty("configurationFile", args[2]);
        } else {
            global.nonClusteredDefault();
        }
        global.globalJmxStatistics().enable().allowDuplicateDomains(true);
        // Counters and caches made by tasks are kept there.
        global.globalState().enable()
                .persistentLocation(System.getProperty("java.io.tmpdir") + "/state");
        global.defaultCacheName("octets");

        Map<String, ConfigurationBuilder> caches = caches(cluster);
        DefaultCacheManager manager =
                new DefaultCacheManager(global.build(), caches.remove("octets").build());
        caches.forEach((name, cache) -> manager.defineConfiguration(name, cache.build()));
        manager.getCache();
        caches.keySet().forEach(manager::getCache);

        HotRodServerConfigurationBuilder server = new HotRodServerConfigurationBuilder();
        server.host("127.0.0.1").port(port).defaultCacheName("octets");
        server.adminOperationsHandler(new EmbeddedServerAdminOperationHandler());
        if (!args[3].isEmpty()) {
            SimpleServerAuthenticationProvider users = new SimpleServerAuthenticationProvider();
            users.addUser(args[3], "hotrod-codec", args[4].toCharArray());
            server.authentication().enable().serverName("hotrod-codec")
                    .addAllowedMech("DIGEST-MD5").addAllowedMech("CRAM-MD5")
                    .serverAuthenticationProvider(users);
        }
        manager.getGlobalComponentRegistry().getComponent(TaskManager.class)
                .registerTaskEngine(new Greetings());
        new HotRodServer().start(server.build(), manager);
        System.out.println("READY");
        Thread.currentThread().join();
    }

    /** Runs the task that full servers find by themselves. */
    private static class Greetings implements TaskEngine {
        private final Greeting greeting = new Greeting();

        @Override
        public String getName() {
            return "greetings";
        }

        @Override
        public List<Task> getTasks() {
            return List.of(greeting);
        }

        @Override
        public boolean handles(String task) {
            return task.equals(greeting.getName());
        }

        @Override
        @SuppressWarnings("unchecked")
        public <T> CompletableFuture<T> runTask(
                String task, TaskContext context, Executor executor) {
            return CompletableFuture.supplyAsync(() -> {
                String text = Greeting.greet(context);
                // Clients get bytes only.
                return (T) (text == null ? null : text.getBytes(StandardCharsets.UTF_8));
            }, executor);
        }
    }

    private static Map<String, ConfigurationBuilder> caches(boolean cluster) {
        CacheMode distributed = cluster ? CacheMode.DIST_SYNC : CacheMode.LOCAL;
        String octets = MediaType.APPLICATION_OCTET_STREAM_TYPE;
        Map<String, ConfigurationBuilder> all = new LinkedHashMap<>();
        all.put("octets", cache(distributed, octets));
        all.put("many", cache(distributed, octets));
        all.put("text", cache(distributed, MediaType.TEXT_PLAIN_TYPE));
        all.put("objects", cache(distributed, MediaType.APPLICATION_OBJECT_TYPE));
        ConfigurationBuilder mortal = cache(distributed, octets);
        mortal.expiration().lifespan(1800, TimeUnit.SECONDS).maxIdle(900, TimeUnit.SECONDS);
        all.put("mortal", mortal);
        // Multimaps want a cache without media types, transactions one with pessimistic locks.
        ConfigurationBuilder multimap = new ConfigurationBuilder();
        multimap.clustering().cacheMode(distributed);
        all.put("multimap", multimap);
        all.put("proto", cache(distributed, MediaType.APPLICATION_PROTOSTREAM_TYPE));
        all.put("tx", transactional(cache(distributed, octets), false));
        all.put("xa", transactional(cache(distributed, octets), true));
        if (cluster) {
            ConfigurationBuilder segments20 = cache(distributed, octets);
            segments20.clustering().hash().numSegments(20);
            all.put("segments20", segments20);
            all.put("replicated", cache(CacheMode.REPL_SYNC, octets));
            all.put("invalidation", cache(CacheMode.INVALIDATION_SYNC, octets));
        }
        return all;
    }

    private static ConfigurationBuilder transactional(
            ConfigurationBuilder cache, boolean recoverable) {
        cache.locking().isolationLevel(IsolationLevel.REPEATABLE_READ);
        cache.transaction().transactionMode(TransactionMode.TRANSACTIONAL)
                .lockingMode(LockingMode.PESSIMISTIC).useSynchronization(!recoverable)
                .transactionManagerLookup(new EmbeddedTransactionManagerLookup());
        cache.transaction().recovery().enabled(recoverable);
        return cache;
    }

    private static ConfigurationBuilder cache(CacheMode mode, String mediaType) {
        ConfigurationBuilder cache = new ConfigurationBuilder();
        cache.jmxStatistics().enable();
        cache.clustering().cacheMode(mode);
        cache.encoding().key().mediaType(mediaType);
        cache.encoding().value().mediaType(mediaType);
        return cache;
    }
}
