import java.nio.charset.StandardCharsets;
import java.util.Collections;
import java.util.Map;
import org.infinispan.tasks.ServerTask;
import org.infinispan.tasks.TaskContext;

/** A task for clients to execute: says hello to its parameter "who". */
public class Greeting implements ServerTask<String> {
    private static final ThreadLocal<TaskContext> CONTEXT = new ThreadLocal<>();

    @Override
    public String getName() {
        return "greeting";
    }

    @Override
    public void setTaskContext(TaskContext context) {
        CONTEXT.set(context);
    }

    @Override
    public String call() {
        return greet(CONTEXT.get());
    }

    static String greet(TaskContext context) {
        Map<String, ?> parameters = context.getParameters().orElse(Collections.emptyMap());
        Object given = parameters.get("who");
        if (given == null) {
            return null;
        }
        // Server 9.4 hands on what comes.
        String who = given instanceof byte[]
                ? new String((byte[]) given, StandardCharsets.UTF_8) : given.toString();
        if (who.equals("nobody")) {
            throw new IllegalArgumentException("nobody is there");
        }
        String cache = context.getCache().map(c -> " of " + c.getName()).orElse("");
        return "hello " + who + cache;
    }
}
