package stoa;

import java.util.List;
import stoa.v1.Types.Offer;
import stoa.v1.Types.TaskStatus;

/** Decides what runs. It is called from one thread, between heartbeats: it must not block for seconds. */
public interface Scheduler {
    /** Offers; those that are not accepted when this returns are declined. */
    void offers(Framework framework, List<Offer> offers);

    /** How a task stands. An exception leaves it unacknowledged: then it comes again. */
    void update(Framework framework, TaskStatus status);
}
