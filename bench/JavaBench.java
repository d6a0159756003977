import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.BiConsumer;
import java.util.function.IntFunction;
import java.util.stream.Stream;
import org.infinispan.client.hotrod.DataFormat;
import org.infinispan.client.hotrod.RemoteCache;
import org.infinispan.client.hotrod.RemoteCacheManager;
import org.infinispan.client.hotrod.configuration.ConfigurationBuilder;
import org.infinispan.commons.dataconversion.MediaType;
import org.infinispan.commons.marshall.IdentityMarshaller;
import org.infinispan.commons.util.CloseableIterator;

/**
 * The Java client's side of client.py. A line of JSON says what to do how often; the answer is how
 * many nanoseconds it took. Keys and values are byte arrays, as they are on the other side.
 */
public final class JavaBench {
    private static final ObjectMapper JSON = new ObjectMapper();

    private final RemoteCache<byte[], byte[]> cache;
    private final RemoteCache<byte[], byte[]> full;
    private final byte[][] keys;
    private final byte[] value;
    private final int inFlight;
    private final int batch;
    private final int iterated;
    private final Set<byte[]>[] keySets;
    private final Map<byte[], byte[]>[] entryMaps;

    public static void main(String[] args) throws IOException {
        PrintStream answers = System.out;
        System.setOut(System.err); // for the logging
        BufferedReader requests =
                new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        JavaBench bench = null;
        for (String line; (line = requests.readLine()) != null; ) {
            Map<String, Object> answer = new HashMap<>();
            try {
                JsonNode q = JSON.readTree(line);
                if (bench == null) {
                    bench = new JavaBench(q);
                    answer.put("result", 0);
                } else {
                    long start = System.nanoTime();
                    bench.perform(q.get("do").asText(), q.get("count").asInt());
                    answer.put("result", System.nanoTime() - start);
                }
            } catch (Exception error) {
                error.printStackTrace();
                answer.put("error", error.toString());
            }
            answers.write((JSON.writeValueAsString(answer) + "\n").getBytes(StandardCharsets.UTF_8));
            answers.flush();
        }
        Runtime.getRuntime().halt(0); // without waiting for connections
    }

    @SuppressWarnings("unchecked")
    private JavaBench(JsonNode q) {
        ConfigurationBuilder builder = new ConfigurationBuilder();
        builder.addServer().host(q.get("host").asText()).port(q.get("port").asInt());
        DataFormat format = DataFormat.builder()
                .keyType(MediaType.APPLICATION_OCTET_STREAM)
                .valueType(MediaType.APPLICATION_OCTET_STREAM)
                .keyMarshaller(IdentityMarshaller.INSTANCE)
                .valueMarshaller(IdentityMarshaller.INSTANCE)
                .build();
        RemoteCacheManager manager = new RemoteCacheManager(builder.build());
        cache = manager.<byte[], byte[]>getCache(q.get("cache").asText()).withDataFormat(format);
        full = manager.<byte[], byte[]>getCache(q.get("full").asText()).withDataFormat(format);
        iterated = q.get("iterated").asInt();
        inFlight = q.get("in_flight").asInt();
        batch = q.get("batch").asInt();
        value = new byte[q.get("value").asInt()];
        Arrays.fill(value, (byte) 'v');
        keys = new byte[q.get("keys").asInt()][];
        for (int i = 0; i < keys.length; i++) {
            keys[i] = String.format("key-%016d", i).getBytes(StandardCharsets.US_ASCII);
        }
        keySets = new Set[keys.length / batch];
        entryMaps = new Map[keySets.length];
        for (int i = 0; i < keySets.length; i++) {
            entryMaps[i] = new HashMap<>();
            for (int j = 0; j < batch; j++) {
                entryMaps[i].put(keys[i * batch + j], value);
            }
            keySets[i] = entryMaps[i].keySet();
        }
    }

    private void perform(String action, int count) throws Exception {
        switch (action) {
            case "get":
                for (int i = 0; i < count; i++) {
                    found(cache.get(keys[i % keys.length]));
                }
                return;
            case "put":
                for (int i = 0; i < count; i++) {
                    cache.put(keys[i % keys.length], value);
                }
                return;
            case "get_in_flight":
                inFlight(count, i -> cache.getAsync(keys[i % keys.length]).thenAccept(JavaBench::found));
                return;
            case "put_in_flight":
                inFlight(count, i -> cache.putAsync(keys[i % keys.length], value));
                return;
            case "get_many":
                many(count, i -> cache.getAsync(keys[i % keys.length]));
                return;
            case "put_many":
                many(count, i -> cache.putAsync(keys[i % keys.length], value));
                return;
            case "get_all":
                for (int i = 0; i < count / batch; i++) {
                    expect(batch, cache.getAll(keySets[i % keySets.length]).size());
                }
                return;
            case "put_all":
                for (int i = 0; i < count / batch; i++) {
                    cache.putAll(entryMaps[i % entryMaps.length]);
                }
                return;
            case "retrieve_entries":
                int retrieved = 0;
                try (CloseableIterator<Map.Entry<Object, Object>> all =
                        full.retrieveEntries(null, iterated)) {
                    for (; all.hasNext(); retrieved++) {
                        found(((byte[]) all.next().getValue()));
                    }
                }
                expect(count, retrieved);
                return;
            case "entry_set":
                int[] streamed = new int[1];
                try (Stream<Map.Entry<byte[], byte[]>> all = full.entrySet().stream()) {
                    all.forEach(entry -> {
                        found(entry.getValue());
                        streamed[0]++;
                    });
                }
                expect(count, streamed[0]);
                return;
            default:
                throw new IllegalArgumentException("what is " + action + "?");
        }
    }

    private static void found(byte[] value) {
        if (value.length == 0) {
            throw new IllegalStateException("an empty value");
        }
    }

    private static void expect(int wanted, int found) {
        if (wanted != found) {
            throw new IllegalStateException("wanted " + wanted + ", found " + found);
        }
    }

    /** So many at a time, started together, waited for together. */
    private void many(int count, IntFunction<CompletableFuture<byte[]>> start) {
        CompletableFuture<?>[] futures = new CompletableFuture<?>[batch];
        for (int done = 0; done < count; done += batch) {
            for (int i = 0; i < batch; i++) {
                futures[i] = start.apply(done + i);
            }
            CompletableFuture.allOf(futures).join();
        }
    }

    /** Always so many under way: each that ends starts the next. */
    private void inFlight(int count, IntFunction<CompletableFuture<?>> start) throws Exception {
        AtomicInteger next = new AtomicInteger();
        AtomicReference<Throwable> problem = new AtomicReference<>();
        CountDownLatch ended = new CountDownLatch(inFlight);
        BiConsumer<Object, Throwable> goOn = new BiConsumer<>() {
            @Override
            public void accept(Object result, Throwable error) {
                int i = next.getAndIncrement();
                if (error != null) {
                    problem.set(error);
                }
                if (i >= count || error != null) {
                    ended.countDown();
                } else {
                    start.apply(i).whenComplete(this);
                }
            }
        };
        for (int i = 0; i < inFlight; i++) {
            goOn.accept(null, null);
        }
        ended.await();
        if (problem.get() != null) {
            throw new IllegalStateException(problem.get());
        }
    }
}
