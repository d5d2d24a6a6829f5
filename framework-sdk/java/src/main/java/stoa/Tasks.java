package stoa;

import java.util.EnumSet;
import java.util.Optional;
import java.util.Set;
import stoa.v1.Types.Amount;
import stoa.v1.Types.CommandInfo;
import stoa.v1.Types.Offer;
import stoa.v1.Types.Portion;
import stoa.v1.Types.Quantities;
import stoa.v1.Types.Resources;
import stoa.v1.Types.TaskInfo;
import stoa.v1.Types.TaskState;

/** Tasks: what they take of an offer, and what their states mean. */
public final class Tasks {
    private static final Set<TaskState> TERMINAL = EnumSet.of(
            TaskState.TASK_FINISHED,
            TaskState.TASK_FAILED,
            TaskState.TASK_KILLED,
            TaskState.TASK_ERROR,
            TaskState.TASK_LOST,
            TaskState.TASK_DROPPED,
            TaskState.TASK_GONE,
            TaskState.TASK_GONE_BY_OPERATOR);

    private Tasks() {}

    /** Whether a task in this state is over for good. */
    public static boolean isTerminal(TaskState state) {
        return TERMINAL.contains(state);
    }

    /** The word users see. */
    public static String word(TaskState state) {
        return state.name().replaceFirst("^TASK_", "").toLowerCase().replace('_', '-');
    }

    /** So many thousandths of a cpu and bytes of memory of what an offer has for anybody; nothing if they are not there. */
    public static Optional<Resources> take(Offer offer, long cpusMilli, long memBytes) {
        Quantities wanted = Quantities.newBuilder().setCpusMilli(cpusMilli).setMemBytes(memBytes).build();
        for (Portion portion : offer.getResources().getPortionsList()) {
            Quantities have = portion.getAmount().getScalars();
            if (!portion.hasReservation()
                    && !portion.hasVolume()
                    && have.getCpusMilli() >= cpusMilli
                    && have.getMemBytes() >= memBytes) {
                Portion taken = Portion.newBuilder().setAmount(Amount.newBuilder().setScalars(wanted)).build();
                return Optional.of(Resources.newBuilder().addPortions(taken).build());
            }
        }
        return Optional.empty();
    }

    /** A task that runs a script by /bin/sh -c on what was taken of an offer. */
    public static TaskInfo shell(String id, String script, Resources taken) {
        CommandInfo command = CommandInfo.newBuilder().addArgv(script).setShell(true).build();
        return TaskInfo.newBuilder()
                .setId(id)
                .setName(id)
                .setCommand(command)
                .setResources(taken)
                .setKillGraceMs(3000)
                .build();
    }
}
