import java.util.Arrays;

/**
 * Runs another main class for as long as standard input stays open: java Node CLASS ARGUMENT...
 *
 * The operating system closes the pipe when the starting process goes away, however it goes, so no
 * server outlives the tests that started it.
 */
public class Node {
    public static void main(String[] args) throws Exception {
        Thread watch = new Thread(Node::waitForEndOfInput, "starter-watch");
        watch.setDaemon(true);
        watch.start();
        Class.forName(args[0]).getMethod("main", String[].class)
                .invoke(null, (Object) Arrays.copyOfRange(args, 1, args.length));
    }

    private static void waitForEndOfInput() {
        try {
            while (System.in.read() >= 0) {
                // Nothing is ever sent; only the end counts.
            }
        } catch (java.io.IOException closed) {
            // As good as the end.
        }
        Runtime.getRuntime().halt(0);
    }
}
