package stoa;

import io.grpc.ChannelCredentials;
import io.grpc.Grpc;
import io.grpc.ManagedChannel;
import io.grpc.TlsChannelCredentials;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.TimeUnit;

/** Who one is and which masters one talks to. */
record Context(List<String> masters, ChannelCredentials identity) {
    /**
     * Reads the directory that STOA_CONTEXT names, else that of the last `stoa up`: ca.pem, cert.pem, key.pem and masters, as
     * `stoa join` writes them.
     */
    static Context load() throws IOException {
        String named = System.getenv("STOA_CONTEXT");
        String config = System.getenv("XDG_CONFIG_HOME");
        Path home = config != null ? Path.of(config) : Path.of(System.getProperty("user.home"), ".config");
        Path dir = Path.of(named != null ? named : Files.readString(home.resolve("stoa/current")).strip());
        Path file = dir.resolve("masters");
        List<String> masters = Files.readAllLines(file).stream()
                .map(line -> line.replaceFirst("#.*", "").strip())
                .filter(line -> !line.isEmpty())
                .toList();
        if (masters.isEmpty()) {
            throw new IOException(file + " names no master; write host:port, one a line");
        }
        ChannelCredentials identity = TlsChannelCredentials.newBuilder()
                .trustManager(dir.resolve("ca.pem").toFile())
                .keyManager(dir.resolve("cert.pem").toFile(), dir.resolve("key.pem").toFile())
                .build();
        return new Context(masters, identity);
    }

    /** A link to a master, which must show that it is one of this cluster; a leader that falls silent is given up. */
    ManagedChannel dial(String master) {
        return Grpc.newChannelBuilder(master, identity)
                .overrideAuthority("master.stoa") // Every master's certificate carries this name beside its identity.
                .keepAliveTime(10, TimeUnit.SECONDS)
                .keepAliveTimeout(5, TimeUnit.SECONDS)
                .maxInboundMessageSize(256 << 20)
                .proxyDetector(target -> null)
                .build();
    }
}
