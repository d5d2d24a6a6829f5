// This is a whole framework: three tasks, each run once, whichever leader or process dies meanwhile.
package main

import (
	"fmt"
	"log"

	"stoa.example/sdk/stoa"
	pb "stoa.example/sdk/stoa/v1"
)

// Where each task stands.
type hello map[string]pb.TaskState

// Those that are to be launched: that nobody knows, or that were dropped on the way.
func (tasks hello) waiting() (ids []string) {
	for id, state := range tasks {
		if state == pb.TaskState_TASK_UNKNOWN || state == pb.TaskState_TASK_DROPPED {
			ids = append(ids, id)
		}
	}
	return ids
}

func (tasks hello) Offers(f *stoa.Framework, offers []*pb.Offer) {
	for _, offer := range offers {
		if ids, taken := tasks.waiting(), stoa.Take(offer, 50, 32<<20); len(ids) > 0 && taken != nil {
			tasks[ids[0]] = pb.TaskState_TASK_STAGING
			f.Accept(offer, stoa.Shell(ids[0], "echo hello from $STOA_HOSTNAME; sleep 5", taken))
		}
	}
	f.Demand(len(tasks.waiting()), 50, 32<<20)
}

func (tasks hello) Update(f *stoa.Framework, status *pb.TaskStatus) error {
	fmt.Println(status.TaskId, stoa.Word(status.State))
	tasks[status.TaskId] = status.State
	f.Demand(len(tasks.waiting()), 50, 32<<20)
	for _, state := range tasks {
		if !stoa.IsTerminal(state) || state == pb.TaskState_TASK_DROPPED {
			return nil
		}
	}
	f.Teardown()
	return nil
}

func main() {
	info := &pb.FrameworkInfo{Name: "hello", Roles: []string{"default"}, FailoverTimeoutMs: 7 * 24 * 3600 * 1000}
	tasks := hello{"hello.0": 0, "hello.1": 0, "hello.2": 0}
	if err := stoa.Run(info, "hello.id", tasks, "hello.0", "hello.1", "hello.2"); err != nil {
		log.Fatal(err)
	}
}
