import static stoa.v1.Types.TaskState.*;

import java.util.*;
import stoa.*;
import stoa.v1.Types.*;

/** A whole framework: three tasks, each run once, whichever leader or process dies meanwhile. */
public final class Hello implements Scheduler {
    private static final long CPUS_MILLI = 50, MEM_BYTES = 32 << 20;
    static final String[] IDS = {"hello.0", "hello.1", "hello.2"};
    private final Map<String, TaskState> tasks = new TreeMap<>();

    Hello() {
        Arrays.stream(IDS).forEach(id -> tasks.put(id, TASK_STATE_UNSPECIFIED));
    }

    /** Those that are to be launched: that nobody knows, or that were dropped on the way. */
    private List<String> waiting() {
        return tasks.keySet().stream().filter(id -> Set.of(TASK_UNKNOWN, TASK_DROPPED).contains(tasks.get(id))).toList();
    }

    @Override
    public void offers(Framework framework, List<Offer> offers) {
        for (Offer offer : offers) {
            waiting().stream().findFirst().ifPresent(id -> Tasks.take(offer, CPUS_MILLI, MEM_BYTES).ifPresent(taken -> {
                tasks.put(id, TASK_STAGING);
                framework.accept(offer, Tasks.shell(id, "echo hello from $STOA_HOSTNAME; sleep 5", taken));
            }));
        }
        framework.demand(waiting().size(), CPUS_MILLI, MEM_BYTES);
    }

    @Override
    public void update(Framework framework, TaskStatus status) {
        System.out.println(status.getTaskId() + " " + Tasks.word(status.getState()));
        tasks.put(status.getTaskId(), status.getState());
        framework.demand(waiting().size(), CPUS_MILLI, MEM_BYTES);
        if (waiting().isEmpty() && tasks.values().stream().allMatch(Tasks::isTerminal)) {
            framework.teardown();
        }
    }

    public static void main(String[] args) throws Exception {
        FrameworkInfo info = FrameworkInfo.newBuilder()
                .setName("hello").addRoles("default").setFailoverTimeoutMs(7L * 24 * 3600 * 1000).build();
        Framework.run(info, "hello.id", new Hello(), IDS);
    }
}
