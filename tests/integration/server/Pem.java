import java.io.FileInputStream;
import java.io.InputStream;
import java.security.KeyStore;
import java.util.Base64;

/**
 * Prints a key of a PKCS12 file and its certificate as PEM: java Pem FILE PASSWORD ALIAS
 *
 * keytool makes keys but gives out certificates only.
 */
public class Pem {
    public static void main(String[] args) throws Exception {
        char[] password = args[1].toCharArray();
        KeyStore store = KeyStore.getInstance("PKCS12");
        try (InputStream file = new FileInputStream(args[0])) {
            store.load(file, password);
        }
        print("PRIVATE KEY", store.getKey(args[2], password).getEncoded());
        print("CERTIFICATE", store.getCertificate(args[2]).getEncoded());
    }

    private static void print(String label, byte[] content) {
        String lines = Base64.getMimeEncoder(64, new byte[] {'\n'}).encodeToString(content);
        System.out.printf("-----BEGIN %s-----%n%s%n-----END %s-----%n", label, lines, label);
    }
}
