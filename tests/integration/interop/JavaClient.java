import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.infinispan.client.hotrod.DataFormat;
import org.infinispan.client.hotrod.Flag;
import org.infinispan.client.hotrod.MetadataValue;
import org.infinispan.client.hotrod.RemoteCache;
import org.infinispan.client.hotrod.RemoteCacheManager;
import org.infinispan.client.hotrod.RemoteCounterManagerFactory;
import org.infinispan.client.hotrod.annotation.ClientCacheEntryCreated;
import org.infinispan.client.hotrod.annotation.ClientCacheEntryExpired;
import org.infinispan.client.hotrod.annotation.ClientCacheEntryModified;
import org.infinispan.client.hotrod.annotation.ClientCacheEntryRemoved;
import org.infinispan.client.hotrod.annotation.ClientListener;
import org.infinispan.client.hotrod.configuration.ConfigurationBuilder;
import org.infinispan.client.hotrod.event.ClientCacheEntryCreatedEvent;
import org.infinispan.client.hotrod.event.ClientCacheEntryExpiredEvent;
import org.infinispan.client.hotrod.event.ClientCacheEntryModifiedEvent;
import org.infinispan.client.hotrod.event.ClientCacheEntryRemovedEvent;
import org.infinispan.client.hotrod.multimap.RemoteMultimapCache;
import org.infinispan.client.hotrod.multimap.RemoteMultimapCacheManagerFactory;
import org.infinispan.commons.configuration.StringConfiguration;
import org.infinispan.commons.dataconversion.MediaType;
import org.infinispan.commons.marshall.IdentityMarshaller;
import org.infinispan.commons.marshall.UTF8StringMarshaller;
import org.infinispan.commons.util.CloseableIterator;
import org.infinispan.counter.api.CounterConfiguration;
import org.infinispan.counter.api.CounterManager;
import org.infinispan.counter.api.CounterType;
import org.infinispan.counter.api.Storage;
import org.infinispan.counter.api.StrongCounter;
import org.infinispan.counter.api.WeakCounter;

/**
 * The Java client, which does what foreign.py says: a line of JSON for each request, one for each
 * answer. Keys and values go as pairs of type and value: ["string","a"], ["int",1], ["bytes","00ff"].
 */
public final class JavaClient {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final long WAIT_SECONDS = 20;

    private final Map<String, RemoteCacheManager> managers = new HashMap<>();
    private final Map<String, Events> listeners = new HashMap<>();

    public static void main(String[] args) throws IOException {
        PrintStream answers = System.out;
        System.setOut(System.err); // for the logging
        BufferedReader requests =
                new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        JavaClient client = new JavaClient();
        for (String line; (line = requests.readLine()) != null; ) {
            Map<String, Object> answer = new HashMap<>();
            try {
                answer.put("result", client.perform(JSON.readTree(line)));
            } catch (Exception error) {
                error.printStackTrace();
                answer.put("error", error.toString());
            }
            answers.write((JSON.writeValueAsString(answer) + "\n").getBytes(StandardCharsets.UTF_8));
            answers.flush();
        }
        Runtime.getRuntime().halt(0); // without waiting for connections
    }

    private Object perform(JsonNode q) throws Exception {
        String name = q.path("client").asText();
        String action = q.get("do").asText();
        switch (action) {
            case "connect":
                managers.put(name, connected(q.get("properties")));
                return null;
            case "close":
                managers.remove(name).close();
                return null;
            default:
        }
        RemoteCacheManager manager = managers.get(name);
        if (action.startsWith("counter")) {
            return count(RemoteCounterManagerFactory.asCounterManager(manager), action, q);
        }
        if (action.startsWith("admin")) {
            return administer(manager, action, q);
        }
        if (action.startsWith("multimap")) {
            return multi(manager, action, q);
        }
        return access(cache(manager, q), action, q);
    }

    private static RemoteCacheManager connected(JsonNode given) {
        Properties properties = new Properties();
        given.properties().forEach(
                field -> properties.setProperty(
                        "infinispan.client.hotrod." + field.getKey(), field.getValue().asText()));
        ConfigurationBuilder builder = new ConfigurationBuilder();
        builder.withProperties(properties);
        return new RemoteCacheManager(builder.build());
    }

    // ---- caches

    private static RemoteCache<Object, Object> cache(RemoteCacheManager manager, JsonNode q) {
        RemoteCache<Object, Object> cache = manager.getCache(q.get("cache").asText());
        if (cache == null) {
            throw new IllegalArgumentException("no such cache");
        }
        if (q.path("previous").asBoolean()) {
            cache = cache.withFlags(Flag.FORCE_RETURN_VALUE);
        }
        DataFormat.Builder format = DataFormat.builder();
        switch (q.path("format").asText("protostream")) {
            case "text":
                format.keyType(MediaType.TEXT_PLAIN).valueType(MediaType.TEXT_PLAIN)
                        .keyMarshaller(new UTF8StringMarshaller())
                        .valueMarshaller(new UTF8StringMarshaller());
                break;
            case "json":
                format.keyType(MediaType.APPLICATION_JSON).valueType(MediaType.APPLICATION_JSON)
                        .keyMarshaller(new UTF8StringMarshaller())
                        .valueMarshaller(new UTF8StringMarshaller());
                break;
            case "bytes":
                format.keyType(MediaType.APPLICATION_OCTET_STREAM)
                        .valueType(MediaType.APPLICATION_OCTET_STREAM)
                        .keyMarshaller(IdentityMarshaller.INSTANCE)
                        .valueMarshaller(IdentityMarshaller.INSTANCE);
                break;
            case "protostream":
                return cache;
            default:
                throw new IllegalArgumentException("format?");
        }
        return cache.withDataFormat(format.build());
    }

    private Object access(RemoteCache<Object, Object> cache, String action, JsonNode q)
            throws Exception {
        Object key = q.has("key") ? read(q.get("key")) : null;
        Object value = q.has("value") ? read(q.get("value")) : null;
        long lifespan = q.path("lifespan").asLong(-1);
        long maxIdle = q.path("max_idle").asLong(-1);
        switch (action) {
            case "get":
                return shown(cache.get(key));
            case "contains":
                return cache.containsKey(key);
            case "put":
                return shown(
                        cache.put(key, value, lifespan, TimeUnit.SECONDS, maxIdle, TimeUnit.SECONDS));
            case "put_if_absent":
                return shown(cache.putIfAbsent(key, value));
            case "replace":
                return shown(cache.replace(key, value));
            case "remove":
                return shown(cache.remove(key));
            case "get_with_metadata":
                return described(cache.getWithMetadata(key));
            case "replace_with_version":
                return cache.replaceWithVersion(key, value, q.get("version").asLong());
            case "remove_with_version":
                return cache.removeWithVersion(key, q.get("version").asLong());
            case "put_all":
                Map<Object, Object> entries = new LinkedHashMap<>();
                q.get("entries").forEach(pair -> entries.put(read(pair.get(0)), read(pair.get(1))));
                cache.putAll(entries);
                return null;
            case "get_all":
                Set<Object> keys = new HashSet<>();
                q.get("keys").forEach(one -> keys.add(read(one)));
                List<Object> found = new ArrayList<>();
                cache.getAll(keys).forEach((k, v) -> found.add(pair(shown(k), shown(v))));
                return found;
            case "iterate":
                return iterated(cache, q.path("batch").asInt(10));
            case "iterate_with_metadata":
                return iteratedWithMetadata(cache, q.path("batch").asInt(10));
            case "keys":
                List<Object> all = new ArrayList<>();
                cache.keySet().forEach(one -> all.add(shown(one)));
                return all;
            case "size":
                return cache.size();
            case "clear":
                cache.clear();
                return null;
            case "stats":
                return cache.serverStatistics().getStatsMap();
            case "topology":
                Map<String, Integer> servers = new TreeMap<>();
                cache.getCacheTopologyInfo().getSegmentsPerServer()
                        .forEach((server, segments) -> servers.put(server.toString(), segments.size()));
                return servers;
            case "version":
                return cache.getProtocolVersion();
            case "stream_put":
                try (var stream = cache.streaming().put(key)) {
                    stream.write((byte[]) value);
                }
                return null;
            case "stream_get":
                try (var stream = cache.streaming().get(key)) {
                    return shown(stream.readAllBytes());
                }
            case "listen":
                Events listener = q.path("state").asBoolean() ? new StateEvents() : new Events();
                cache.addClientListener(listener);
                listeners.put(q.get("listener").asText(), listener);
                return null;
            case "unlisten":
                cache.removeClientListener(listeners.remove(q.get("listener").asText()));
                return null;
            case "events":
                return listeners.get(q.get("listener").asText()).take(q.get("count").asInt());
            default:
                throw new IllegalArgumentException("what is " + action + "?");
        }
    }

    private static List<Object> iterated(RemoteCache<Object, Object> cache, int batch) {
        List<Object> found = new ArrayList<>();
        try (CloseableIterator<Map.Entry<Object, Object>> entries =
                cache.retrieveEntries(null, batch)) {
            entries.forEachRemaining(
                    entry -> found.add(pair(shown(entry.getKey()), shown(entry.getValue()))));
        }
        return found;
    }

    private static List<Object> iteratedWithMetadata(RemoteCache<Object, Object> cache, int batch) {
        List<Object> found = new ArrayList<>();
        try (CloseableIterator<Map.Entry<Object, MetadataValue<Object>>> entries =
                cache.retrieveEntriesWithMetadata(null, batch)) {
            entries.forEachRemaining(
                    entry -> found.add(pair(shown(entry.getKey()), described(entry.getValue()))));
        }
        return found;
    }

    private static Object described(MetadataValue<Object> found) {
        if (found == null) {
            return null;
        }
        Map<String, Object> shown = new HashMap<>();
        shown.put("value", shown(found.getValue()));
        shown.put("version", found.getVersion());
        shown.put("lifespan", found.getLifespan());
        shown.put("max_idle", found.getMaxIdle());
        shown.put("created", found.getCreated());
        return shown;
    }

    /** What happened, in the order in which the server told it. */
    @ClientListener
    public static class Events {
        private final BlockingQueue<Object> queue = new LinkedBlockingQueue<>();

        @ClientCacheEntryCreated
        public void created(ClientCacheEntryCreatedEvent<?> event) {
            queue.add(Arrays.asList("created", shown(event.getKey()), event.getVersion()));
        }

        @ClientCacheEntryModified
        public void modified(ClientCacheEntryModifiedEvent<?> event) {
            queue.add(Arrays.asList("modified", shown(event.getKey()), event.getVersion()));
        }

        @ClientCacheEntryRemoved
        public void removed(ClientCacheEntryRemovedEvent<?> event) {
            queue.add(Arrays.asList("removed", shown(event.getKey()), null));
        }

        @ClientCacheEntryExpired
        public void expired(ClientCacheEntryExpiredEvent<?> event) {
            queue.add(Arrays.asList("expired", shown(event.getKey()), null));
        }

        List<Object> take(int count) throws InterruptedException {
            return taken(queue, count);
        }
    }

    /** The same, with what was there before. */
    @ClientListener(includeCurrentState = true)
    public static final class StateEvents extends Events {}

    /** All that is there, after waiting until it is `count` of them. */
    private static List<Object> taken(BlockingQueue<Object> queue, int count)
            throws InterruptedException {
        List<Object> found = new ArrayList<>();
        while (found.size() < count) {
            Object one = queue.poll(WAIT_SECONDS, TimeUnit.SECONDS);
            if (one == null) {
                break;
            }
            found.add(one);
        }
        queue.drainTo(found);
        return found;
    }

    // ---- what is no plain cache

    private final BlockingQueue<Object> counted = new LinkedBlockingQueue<>();

    private Object count(CounterManager counters, String action, JsonNode q) throws Exception {
        String name = q.path("counter").asText();
        long value = q.path("value").asLong();
        switch (action) {
            case "counter_define":
                return counters.defineCounter(name, configuration(q));
            case "counter_names":
                return counters.getCounterNames();
            case "counter_is_defined":
                return counters.isDefined(name);
            case "counter_configuration":
                CounterConfiguration found = counters.getConfiguration(name);
                return Arrays.asList(
                        found.type().name(), found.initialValue(), found.lowerBound(),
                        found.upperBound(), found.storage().name());
            case "counter_events":
                return taken(counted, q.get("count").asInt());
            default:
        }
        if (action.startsWith("counter_weak")) {
            WeakCounter weak = counters.getWeakCounter(name);
            if (action.equals("counter_weak_add")) {
                weak.sync().add(value);
                return null;
            }
            return weak.sync().getValue();
        }
        StrongCounter strong = counters.getStrongCounter(name);
        switch (action) {
            case "counter_get":
                return strong.sync().getValue();
            case "counter_add":
                return strong.sync().addAndGet(value);
            case "counter_set":
                return strong.sync().getAndSet(value);
            case "counter_swap":
                return strong.sync().compareAndSwap(q.get("expected").asLong(), value);
            case "counter_reset":
                strong.sync().reset();
                return null;
            case "counter_remove":
                strong.sync().remove();
                return null;
            case "counter_listen":
                strong.addListener(
                        event -> counted.add(
                                Arrays.asList(
                                        event.getOldValue(), event.getNewValue(),
                                        event.getNewState().name())));
                return null;
            default:
                throw new IllegalArgumentException("what is " + action + "?");
        }
    }

    private static CounterConfiguration configuration(JsonNode q) {
        CounterType type = CounterType.valueOf(q.get("type").asText());
        CounterConfiguration.Builder builder = CounterConfiguration.builder(type)
                .initialValue(q.path("initial").asLong()).storage(Storage.VOLATILE);
        if (type == CounterType.BOUNDED_STRONG) {
            builder.lowerBound(q.get("lower").asLong()).upperBound(q.get("upper").asLong());
        }
        return builder.build();
    }

    private static Object multi(RemoteCacheManager manager, String action, JsonNode q)
            throws Exception {
        RemoteMultimapCache<Object, Object> cache =
                RemoteMultimapCacheManagerFactory.<Object, Object>from(manager)
                        .get(q.get("cache").asText());
        Object key = q.has("key") ? read(q.get("key")) : null;
        Object value = q.has("value") ? read(q.get("value")) : null;
        switch (action) {
            case "multimap_put":
                return cache.put(key, value).get(WAIT_SECONDS, TimeUnit.SECONDS);
            case "multimap_get":
                List<Object> found = new ArrayList<>();
                cache.get(key).get(WAIT_SECONDS, TimeUnit.SECONDS)
                        .forEach(one -> found.add(shown(one)));
                return found;
            case "multimap_contains":
                return cache.containsEntry(key, value).get(WAIT_SECONDS, TimeUnit.SECONDS);
            case "multimap_size":
                return cache.size().get(WAIT_SECONDS, TimeUnit.SECONDS);
            case "multimap_remove":
                return (value == null ? cache.remove(key) : cache.remove(key, value))
                        .get(WAIT_SECONDS, TimeUnit.SECONDS);
            default:
                throw new IllegalArgumentException("what is " + action + "?");
        }
    }

    private static Object administer(RemoteCacheManager manager, String action, JsonNode q) {
        String cache = q.path("cache").asText();
        switch (action) {
            case "admin_create":
                manager.administration().getOrCreateCache(
                        cache, new StringConfiguration(q.get("configuration").asText()));
                return null;
            case "admin_remove":
                manager.administration().removeCache(cache);
                return null;
            case "admin_names":
                return manager.getCacheNames();
            default:
                throw new IllegalArgumentException("what is " + action + "?");
        }
    }

    // ---- values

    private static Object read(JsonNode pair) {
        JsonNode value = pair.get(1);
        switch (pair.get(0).asText()) {
            case "string":
                return value.asText();
            case "bytes":
                return HexFormat.of().parseHex(value.asText());
            case "int":
                return value.asInt();
            case "long":
                return value.asLong();
            case "double":
                return value.asDouble();
            case "bool":
                return value.asBoolean();
            default:
                throw new IllegalArgumentException("no type: " + pair);
        }
    }

    private static Object shown(Object value) {
        if (value == null) {
            return null;
        }
        if (value instanceof byte[] bytes) {
            return pair("bytes", HexFormat.of().formatHex(bytes));
        }
        if (value instanceof String) {
            return pair("string", value);
        }
        if (value instanceof Integer) {
            return pair("int", value);
        }
        if (value instanceof Long) {
            return pair("long", value);
        }
        if (value instanceof Double) {
            return pair("double", value);
        }
        if (value instanceof Boolean) {
            return pair("bool", value);
        }
        return pair(value.getClass().getName(), value.toString());
    }

    private static List<Object> pair(Object one, Object other) {
        return Arrays.asList(one, other);
    }
}
