package stoa;

import com.google.protobuf.ByteString;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import stoa.v1.Types.AgentInfo;
import stoa.v1.Types.Amount;
import stoa.v1.Types.FrameworkInfo;
import stoa.v1.Types.Offer;
import stoa.v1.Types.Portion;
import stoa.v1.Types.Quantities;
import stoa.v1.Types.Resources;
import stoa.v1.Types.TaskInfo;
import stoa.v1.Types.TaskState;
import stoa.v1.Types.TaskStatus;
import stoa.v1.scheduler.SchedulerOuterClass.Answer;
import stoa.v1.scheduler.SchedulerOuterClass.Call;
import stoa.v1.scheduler.SchedulerOuterClass.Committed;
import stoa.v1.scheduler.SchedulerOuterClass.Event;
import stoa.v1.scheduler.SchedulerOuterClass.Offers;
import stoa.v1.scheduler.SchedulerOuterClass.Subscribed;

/**
 * Plays a scheduler without a cluster, for its tests: a pretend master, which the test tells what happens. A task that is launched
 * twice ends the test with an AssertionError.
 */
public final class Rehearsal {
    private final FrameworkInfo info;
    private final Path file;
    private final Map<String, Task> tasks = new TreeMap<>();
    private final Set<String> offers = new TreeSet<>(); // Those without an answer.
    private final Deque<Event> events = new ArrayDeque<>();
    private Framework framework;
    private long count;
    private boolean over;

    private static final class Task {
        TaskInfo info;
        TaskStatus status;
        long taken; // The last update that was acknowledged.

        Task(TaskInfo info, TaskStatus status) {
            this.info = info;
            this.status = status;
        }
    }

    /** Begins a session. The framework's id is kept in a file in `dir`. */
    public Rehearsal(Path dir, FrameworkInfo info, Scheduler scheduler, String... believed) {
        this.info = info;
        this.file = dir.resolve("id");
        restart(scheduler, believed);
    }

    /** The framework's process dies; the next one has this scheduler, the id, and what else it stored. */
    public void restart(Scheduler scheduler, String... believed) {
        framework = new Framework(info, file, scheduler, believed);
        framework.use(this::hear);
        failOver();
    }

    /** The leader dies; the next one knows all tasks, and no offer. */
    public void failOver() {
        events.clear();
        offers.clear();
        Subscribed.Builder said = Subscribed.newBuilder().setFrameworkId("F1-1");
        for (Task task : tasks.values()) {
            if (!Tasks.isTerminal(task.status.getState())) {
                said.addTasks(task.status.toBuilder().clearSequence());
            }
        }
        tell(Event.newBuilder().setSubscribed(said));
        for (Task task : List.copyOf(tasks.values())) {
            if (task.status.getSequence() > task.taken) {
                tell(Event.newBuilder().setUpdate(task.status));
            }
        }
    }

    /** Offers a machine with so much room, whatever is wanted; the ids of the new tasks that were launched on it. */
    public List<String> offer(long cpusMilli, long memBytes) {
        Set<String> before = Set.copyOf(tasks.keySet());
        Quantities scalars = Quantities.newBuilder().setCpusMilli(cpusMilli).setMemBytes(memBytes).build();
        Portion all = Portion.newBuilder().setAmount(Amount.newBuilder().setScalars(scalars)).build();
        Offer offer = Offer.newBuilder()
                .setId("O" + ++count)
                .setAgent(AgentInfo.newBuilder().setId("a1").setHostname("a1"))
                .setRole(info.getRoles(0))
                .setResources(Resources.newBuilder().addPortions(all))
                .build();
        offers.add(offer.getId());
        tell(Event.newBuilder().setOffers(Offers.newBuilder().addOffers(offer)));
        return tasks.keySet().stream().filter(id -> !before.contains(id)).toList();
    }

    /** A task stands otherwise now; whether that was taken in. */
    public boolean report(String id, TaskState state) {
        Task task = tasks.get(id);
        task.status = task.status.toBuilder().setState(state).setSequence(task.status.getSequence() + 1).build();
        long sequence = task.status.getSequence();
        tell(Event.newBuilder().setUpdate(task.status));
        return task.taken == sequence;
    }

    /** How all tasks stand, in the words that users see. */
    public Map<String, String> states() {
        Map<String, String> states = new TreeMap<>();
        tasks.forEach((id, task) -> states.put(id, Tasks.word(task.status.getState())));
        return states;
    }

    /** A task as it was launched. */
    public TaskInfo task(String id) {
        return tasks.get(id).info;
    }

    /** How many tasks are demanded. */
    public long wanted() {
        return framework.wanted();
    }

    /** How many offers have no answer. */
    public int openOffers() {
        return offers.size();
    }

    /** Whether the framework was torn down. */
    public boolean isOver() {
        return over;
    }

    private void tell(Event.Builder event) {
        events.add(event.build());
        try {
            while (!events.isEmpty()) {
                framework.hear(events.remove());
            }
        } catch (IOException failed) {
            throw new UncheckedIOException(failed);
        } catch (Framework.Again never) {
            throw new IllegalStateException(never);
        }
    }

    /** What the framework says. */
    private void hear(Call call) {
        switch (call.getKindCase()) {
            case ACCEPT -> {
                call.getAccept().getPartsList().forEach(part -> part.getOfferIdsList().forEach(offers::remove));
                call.getAccept().getPartsList().stream()
                        .flatMap(part -> part.getOperationsList().stream())
                        .flatMap(operation -> operation.getLaunch().getTasksList().stream())
                        .forEach(this::launch);
            }
            case DECLINE -> call.getDecline().getOfferIdsList().forEach(offers::remove);
            case KILL -> {
                Task task = tasks.get(call.getKill().getTaskId());
                if (task != null && !Tasks.isTerminal(task.status.getState())) {
                    long sequence = task.status.getSequence() + 1;
                    task.status = task.status.toBuilder().setState(TaskState.TASK_KILLED).setSequence(sequence).build();
                    events.add(Event.newBuilder().setUpdate(task.status).build());
                }
            }
            case RECONCILE -> call.getReconcile().getTaskIdsList().forEach(id -> {
                TaskStatus unknown = TaskStatus.newBuilder().setTaskId(id).setState(TaskState.TASK_UNKNOWN).build();
                Task task = tasks.get(id);
                events.add(Event.newBuilder().setUpdate(task != null ? task.status : unknown).build());
            });
            case ACKNOWLEDGE -> tasks.get(call.getAcknowledge().getTaskId()).taken = call.getAcknowledge().getSequence();
            case TEARDOWN -> over = true;
            default -> {}
        }
        if (!call.getOperationId().isEmpty()) {
            Answer answer = Answer.newBuilder()
                    .setOperationId(call.getOperationId())
                    .setCommitted(Committed.getDefaultInstance())
                    .build();
            events.add(Event.newBuilder().setAnswer(answer).build());
        }
    }

    private void launch(TaskInfo info) {
        Task known = tasks.get(info.getId());
        if (known != null && known.status.getState() != TaskState.TASK_DROPPED) {
            throw new AssertionError("task " + info.getId() + " is launched twice");
        }
        ByteString run = ByteString.copyFrom(ByteBuffer.allocate(16).putLong(8, ++count).array());
        tasks.put(info.getId(), new Task(info, TaskStatus.newBuilder()
                .setTaskId(info.getId())
                .setState(TaskState.TASK_STAGING)
                .setRunId(run)
                .build()));
    }
}
