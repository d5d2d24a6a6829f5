package stoa;

import com.google.protobuf.ByteString;
import io.grpc.CallOptions;
import io.grpc.ManagedChannel;
import io.grpc.MethodDescriptor;
import io.grpc.Status;
import io.grpc.StatusException;
import io.grpc.protobuf.ProtoUtils;
import io.grpc.stub.BlockingClientCall;
import io.grpc.stub.ClientCalls;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.UUID;
import stoa.v1.Types.Amount;
import stoa.v1.Types.DeclineReason;
import stoa.v1.Types.Demand;
import stoa.v1.Types.Empty;
import stoa.v1.Types.Filter;
import stoa.v1.Types.FrameworkInfo;
import stoa.v1.Types.Launch;
import stoa.v1.Types.Offer;
import stoa.v1.Types.Operation;
import stoa.v1.Types.Quantities;
import stoa.v1.Types.Refusal;
import stoa.v1.Types.TaskInfo;
import stoa.v1.Types.TaskState;
import stoa.v1.Types.TaskStatus;
import stoa.v1.scheduler.SchedulerOuterClass.Accept;
import stoa.v1.scheduler.SchedulerOuterClass.AcceptPart;
import stoa.v1.scheduler.SchedulerOuterClass.Acknowledge;
import stoa.v1.scheduler.SchedulerOuterClass.Answer;
import stoa.v1.scheduler.SchedulerOuterClass.Call;
import stoa.v1.scheduler.SchedulerOuterClass.Decline;
import stoa.v1.scheduler.SchedulerOuterClass.Event;
import stoa.v1.scheduler.SchedulerOuterClass.Kill;
import stoa.v1.scheduler.SchedulerOuterClass.Reconcile;
import stoa.v1.scheduler.SchedulerOuterClass.Subscribe;
import stoa.v1.scheduler.SchedulerOuterClass.Subscribed;
import stoa.v1.scheduler.SchedulerOuterClass.Teardown;
import stoa.v1.scheduler.SchedulerOuterClass.UpdateDemands;
import stoa.v1.scheduler.SchedulerOuterClass.UpdateFramework;

/**
 * Keeps a framework's session with the leading master, on messages that protoc generates from proto/v1.
 *
 * <p>It finds the leader and comes back after a failover, sends each call until it is answered, asks for tasks that a snapshot
 * lacks, acknowledges an update once the scheduler has taken it in, and declines offers that were not used.
 */
public final class Framework {
    /** The one method of proto/v1/scheduler.proto, said by hand: so no plugin of protoc is needed. */
    private static final MethodDescriptor<Call, Event> SESSION = MethodDescriptor.<Call, Event>newBuilder()
            .setType(MethodDescriptor.MethodType.BIDI_STREAMING)
            .setFullMethodName("stoa.v1.scheduler.Scheduler/Session")
            .setRequestMarshaller(ProtoUtils.marshaller(Call.getDefaultInstance()))
            .setResponseMarshaller(ProtoUtils.marshaller(Event.getDefaultInstance()))
            .build();

    /** Pause between two tries: a framework that hurries keeps the masters down when they come up. */
    private static final long PAUSE_MS = 200;

    /** Refusals after which the same call may go better in another session. */
    private static final Set<String> PASSING = Set.of("leader-lost", "unavailable", "too-much");

    /** Statuses that every master will give again. */
    private static final Set<Status.Code> FINAL = Set.of(
            Status.Code.PERMISSION_DENIED,
            Status.Code.UNAUTHENTICATED,
            Status.Code.INVALID_ARGUMENT,
            Status.Code.UNIMPLEMENTED,
            Status.Code.OUT_OF_RANGE);

    private final FrameworkInfo info;
    private final Path file;
    private final Scheduler scheduler;
    private final String life = UUID.randomUUID().toString(); // No two lives of a framework share an id of a call.
    private final Map<String, Call> pending = new LinkedHashMap<>(); // Sent and not answered, in order.
    private final Map<String, Known> known = new HashMap<>();
    private final Set<String> missing = new TreeSet<>(); // Believed to be alive, and not in the snapshot.
    private final Set<String> open = new TreeSet<>();
    private UpdateDemands demands = UpdateDemands.newBuilder().setDemandDriven(true).build();
    private Door door;
    private String fence = ""; // The call behind which an unknown task is one that never was.
    private long calls;

    /** What is known of one task. */
    private static final class Known {
        ByteString run = ByteString.EMPTY;
        long done; // The last update that was taken in.
        TaskState state = TaskState.TASK_STATE_UNSPECIFIED;
    }

    /** The session goes no further, and the next one may. */
    static final class Again extends Exception {
        private static final long serialVersionUID = 1;
    }

    /** Where calls go. */
    interface Door {
        void write(Call call) throws StatusException, InterruptedException;
    }

    Framework(FrameworkInfo info, Path file, Scheduler scheduler, String... believed) {
        this.info = info;
        this.file = file;
        this.scheduler = scheduler;
        Arrays.stream(believed).forEach(task -> known.put(task, new Known()));
    }

    /**
     * Keeps the session of a framework until it is torn down. Its id is kept in a file, below the directory that STOA_DATA
     * names, if it is set. `believed` are ids of tasks that an earlier life may have launched: of each the scheduler is told
     * how it stands, or that nobody knows it.
     */
    public static void run(FrameworkInfo info, String file, Scheduler scheduler, String... believed)
            throws IOException, InterruptedException {
        String data = System.getenv("STOA_DATA");
        Framework framework = new Framework(info, Path.of(data != null ? data : "").resolve(file), scheduler, believed);
        Context context = Context.load();
        for (int at = 0; !framework.session(context, at % context.masters().size()); at++) {
            Thread.sleep(PAUSE_MS);
        }
        Files.deleteIfExists(framework.file);
    }

    /** Launches tasks on an offer. */
    public void accept(Offer offer, TaskInfo... tasks) {
        Operation launch =
                Operation.newBuilder().setLaunch(Launch.newBuilder().addAllTasks(List.of(tasks))).build();
        AcceptPart part = AcceptPart.newBuilder().addOfferIds(offer.getId()).addOperations(launch).build();
        Arrays.stream(tasks).forEach(task -> known.put(task.getId(), new Known()));
        open.remove(offer.getId());
        Filter rest = Filter.newBuilder().setRefuseMs(1000).build();
        ask(Call.newBuilder().setAccept(Accept.newBuilder().addParts(part).setFilter(rest)));
    }

    /** All that is wanted from now on, so many tasks of one shape: offers come for that only, and none for nothing. */
    public void demand(int count, long cpusMilli, long memBytes) {
        Quantities scalars = Quantities.newBuilder().setCpusMilli(cpusMilli).setMemBytes(memBytes).build();
        UpdateDemands.Builder wanted = UpdateDemands.newBuilder().setDemandDriven(true);
        if (count > 0) {
            wanted.addDemandsBuilder()
                    .setId("tasks")
                    .setRole(info.getRoles(0))
                    .setShape(Amount.newBuilder().setScalars(scalars))
                    .setCount(count);
        }
        if (!wanted.build().equals(demands)) {
            demands = wanted.build(); // The next session begins with it, so it is sent once.
            send(Call.newBuilder().setOperationId(name()).setUpdateDemands(demands));
        }
    }

    /** Ends a task. */
    public void kill(String task) {
        ask(Call.newBuilder().setKill(Kill.newBuilder().setTaskId(task)));
    }

    /** Ends the framework and all its tasks; then `run` returns. */
    public void teardown() {
        ask(Call.newBuilder().setTeardown(Teardown.getDefaultInstance()));
    }

    private String name() {
        return life + "-" + ++calls;
    }

    /** Sends a call until it is answered. */
    private String ask(Call.Builder call) {
        String operation = name();
        pending.put(operation, call.setOperationId(operation).build());
        send(call);
        return operation;
    }

    /** A call that cannot be sent is lost with its session, which the next read tells. */
    private void send(Call.Builder call) {
        try {
            door.write(call.build());
        } catch (StatusException broken) {
            // As said above.
        } catch (InterruptedException asked) {
            Thread.currentThread().interrupt();
        }
    }

    /** One session with one master; whether the framework is over. */
    private boolean session(Context context, int number) throws IOException, InterruptedException {
        ManagedChannel channel = context.dial(context.masters().get(number));
        try {
            BlockingClientCall<Call, Event> stream =
                    ClientCalls.blockingBidiStreamingCall(channel, SESSION, CallOptions.DEFAULT);
            door = stream::write;
            Subscribe.Builder subscribe = Subscribe.newBuilder().setFramework(info).setDemands(demands);
            if (Files.exists(file)) {
                subscribe.setFrameworkId(Files.readString(file));
            }
            send(Call.newBuilder().setSubscribe(subscribe));
            for (Event event = stream.read(); event != null; event = stream.read()) {
                if (hear(event)) {
                    return true;
                }
            }
        } catch (StatusException broken) {
            if (FINAL.contains(broken.getStatus().getCode())) {
                throw new IOException(broken.getStatus().getDescription(), broken);
            }
        } catch (Again passes) {
            // Mostly another master leads.
        } finally {
            channel.shutdownNow();
        }
        return false;
    }

    /** Says things there from now on. */
    void use(Door there) {
        door = there;
    }

    /** So many tasks are wanted. */
    long wanted() {
        return demands.getDemandsList().stream().mapToLong(Demand::getCount).sum();
    }

    /** Takes an event in; whether the framework is over. */
    boolean hear(Event event) throws Again, IOException {
        switch (event.getKindCase()) {
            case SUBSCRIBED -> stands(event.getSubscribed());
            case OFFERS -> offers(event.getOffers().getOffersList());
            case RESCIND -> open.remove(event.getRescind().getOfferId());
            case UPDATE -> update(event.getUpdate());
            // Answered, it is ours as well.
            case HEARTBEAT -> send(Call.newBuilder().setHeartbeat(Empty.getDefaultInstance()));
            case ANSWER -> {
                return answered(event.getAnswer());
            }
            case FAULT -> {
                Refusal refusal = event.getFault().getRefusal();
                if (refusal.getCode().equals("framework-removed")
                        && pending.values().stream().anyMatch(Call::hasTeardown)) {
                    return true; // The answer died with the leader that gave it.
                }
                if (!PASSING.contains(refusal.getCode())) {
                    throw new IOException(text(refusal));
                }
                throw new Again();
            }
            case REDIRECT -> throw new Again(); // The others are asked in turn.
            default -> {}
        }
        return false;
    }

    /** The session stands, with a snapshot: no session is resumed here. */
    private void stands(Subscribed said) throws IOException {
        Path fresh = file.resolveSibling(file.getFileName() + ".fresh");
        Files.writeString(fresh, said.getFrameworkId());
        Files.move(fresh, file, StandardCopyOption.REPLACE_EXISTING, StandardCopyOption.ATOMIC_MOVE);
        open.clear();
        missing.clear();
        known.forEach((task, what) -> {
            if (!Tasks.isTerminal(what.state)) {
                missing.add(task);
            }
        });
        for (Call call : pending.values()) {
            send(call.toBuilder()); // The master carries the same id out once.
            missing.removeAll(launched(call));
        }
        said.getTasksList().forEach(this::update);
        if (!missing.isEmpty()) {
            // It is logged, behind all that was asked before: only then is a task that nobody knows one that never was.
            fence = ask(Call.newBuilder().setUpdateFramework(UpdateFramework.newBuilder().setFramework(info)));
        }
    }

    private void offers(List<Offer> offers) {
        offers.forEach(offer -> open.add(offer.getId()));
        scheduler.offers(this, offers);
        List<String> unused = offers.stream().map(Offer::getId).filter(open::remove).toList();
        if (!unused.isEmpty()) {
            Decline.Builder decline = Decline.newBuilder()
                    .addAllOfferIds(unused)
                    .setReason(DeclineReason.UNUSED)
                    .setFilter(Filter.newBuilder().setRefuseMs(5000));
            // It means nothing to another session, so it is sent once.
            send(Call.newBuilder().setOperationId(name()).setDecline(decline));
        }
    }

    private void update(TaskStatus status) {
        missing.remove(status.getTaskId());
        ByteString run = status.getRunId();
        Known task = known.computeIfAbsent(status.getTaskId(), any -> new Known());
        int age = ByteString.unsignedLexicographicalComparator().compare(run, task.run);
        if (!run.isEmpty() && age > 0) {
            task = new Known();
            task.run = run;
            known.put(status.getTaskId(), task);
        }
        boolean earlier = !run.isEmpty() && age < 0; // A life of the same name before this one.
        // The last update may come again behind the master's word that the task is out of sight, or on its way: it is back.
        boolean mayAdvance = status.getSequence() == 0 || status.getSequence() == task.done;
        boolean news = status.getSequence() > task.done || mayAdvance && advances(task.state, status.getState());
        if (news && !earlier && !Tasks.isTerminal(task.state)) {
            try {
                scheduler.update(this, status);
            } catch (RuntimeException failed) {
                System.err.printf("update %d of task %s comes again: %s%n",
                        status.getSequence(), status.getTaskId(), failed);
                return;
            }
            task.done = Math.max(task.done, status.getSequence());
            task.state = status.getState();
        }
        if (status.getState() == TaskState.TASK_UNKNOWN) {
            known.remove(status.getTaskId());
        }
        if (status.getSequence() > 0) {
            send(Call.newBuilder().setAcknowledge(Acknowledge.newBuilder()
                    .setTaskId(status.getTaskId())
                    .setRunId(run)
                    .setSequence(status.getSequence())));
        }
    }

    /** Whether it was the answer to the teardown. */
    private boolean answered(Answer answer) throws Again {
        Call call = pending.get(answer.getOperationId());
        if (call == null) {
            return false;
        }
        if (answer.hasRefused() && PASSING.contains(answer.getRefused().getCode())) {
            throw new Again();
        }
        pending.remove(answer.getOperationId());
        if (answer.hasRefused()) {
            System.err.println(text(answer.getRefused()));
            launched(call).forEach(task -> update(TaskStatus.newBuilder()
                    .setTaskId(task)
                    .setState(TaskState.TASK_DROPPED)
                    .setMessage(answer.getRefused().getMessage())
                    .build()));
        } else if (call.getOperationId().equals(fence) && !missing.isEmpty()) {
            ask(Call.newBuilder().setReconcile(Reconcile.newBuilder().addAllTaskIds(missing)));
        }
        return call.hasTeardown() && !answer.hasRefused();
    }

    private static String text(Refusal refusal) {
        return "refused: %s: %s (%s)".formatted(refusal.getCode(), refusal.getMessage(), refusal.getHelp());
    }

    static List<String> launched(Call call) {
        return call.getAccept().getPartsList().stream()
                .flatMap(part -> part.getOperationsList().stream())
                .flatMap(operation -> operation.getLaunch().getTasksList().stream())
                .map(TaskInfo::getId)
                .toList();
    }

    /** Whether a status without a place in its run's stream says more than is known: it may be an older one. */
    private static boolean advances(TaskState known, TaskState said) {
        Set<TaskState> outOfSight = Set.of(TaskState.TASK_UNREACHABLE, TaskState.TASK_UNKNOWN);
        return known != said
                && (outOfSight.contains(known) || outOfSight.contains(said) || said.compareTo(known) > 0);
    }
}
