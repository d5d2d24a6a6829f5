import static stoa.v1.Types.TaskState.*;

import java.nio.file.Files;
import java.util.List;
import stoa.Rehearsal;
import stoa.v1.Types.FrameworkInfo;

/** What should hold of the framework when things go well and when they do not: keep what applies. */
public final class HelloTest {
    private static final FrameworkInfo INFO =
            FrameworkInfo.newBuilder().setName("hello").addRoles("default").build();
    private static final long CPUS_MILLI = 1000, MEM_BYTES = 1 << 30;

    private static Rehearsal rehearse() throws Exception {
        Rehearsal pool = new Rehearsal(Files.createTempDirectory("hello"), INFO, new Hello(), Hello.IDS);
        check(pool.wanted() == Hello.IDS.length, "it wants each");
        return pool;
    }

    private static void itRunsEachOnceAndEnds() throws Exception {
        Rehearsal pool = rehearse();
        for (int left = Hello.IDS.length; left > 0; left--) {
            check(pool.wanted() == left, "it wants what is left");
            pool.offer(CPUS_MILLI, MEM_BYTES);
        }
        for (String id : Hello.IDS) {
            pool.report(id, TASK_RUNNING);
            check(!pool.isOver() && pool.report(id, TASK_FINISHED), id + " runs, and its end is taken in");
        }
        check(pool.isOver(), "it ends when all has run");
    }

    private static void itTakesNoMoreThanItNeeds() throws Exception {
        Rehearsal pool = rehearse();
        check(pool.offer(10, 1 << 20).isEmpty(), "nothing is launched where it does not fit");
        for (int offers = 0; offers < Hello.IDS.length + 2; offers++) {
            pool.offer(CPUS_MILLI, MEM_BYTES);
        }
        check(pool.states().size() == Hello.IDS.length, "each is launched");
        check(pool.openOffers() == 0 && pool.wanted() == 0, "nothing is hoarded");
    }

    private static void aLaunchThatCameToNothingIsTriedAgain() throws Exception {
        Rehearsal pool = rehearse();
        List<String> launched = pool.offer(CPUS_MILLI, MEM_BYTES);
        pool.report(launched.get(0), TASK_DROPPED);
        for (int offers = 0; offers < 3; offers++) {
            pool.offer(CPUS_MILLI, MEM_BYTES);
        }
        check(pool.states().get(launched.get(0)).equals("staging"), "it is launched again");
    }

    private static void itOutlivesLeadersAndItsOwnDeath() throws Exception {
        Rehearsal pool = rehearse();
        String first = pool.offer(CPUS_MILLI, MEM_BYTES).get(0);
        pool.report(first, TASK_RUNNING);
        pool.failOver();
        pool.restart(new Hello(), Hello.IDS);
        for (int offers = 0; offers < 3; offers++) {
            pool.offer(CPUS_MILLI, MEM_BYTES); // A second launch of the same task would end the test.
        }
        check(pool.states().size() == Hello.IDS.length, "each is launched");
        check(pool.states().get(first).equals("running"), "the first one ran on");
    }

    private static void check(boolean holds, String what) {
        if (!holds) {
            throw new AssertionError(what);
        }
    }

    public static void main(String[] args) throws Exception {
        itRunsEachOnceAndEnds();
        itTakesNoMoreThanItNeeds();
        aLaunchThatCameToNothingIsTriedAgain();
        itOutlivesLeadersAndItsOwnDeath();
        System.out.println("four tests passed");
    }
}
