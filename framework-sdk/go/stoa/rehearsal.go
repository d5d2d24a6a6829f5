package stoa

import (
	"encoding/binary"
	"fmt"
	"maps"
	"path/filepath"
	"slices"

	"google.golang.org/grpc"
	pb "stoa.example/sdk/stoa/v1"
)

// Rehearsal plays a scheduler without a cluster, for its tests: a pretend master, which the test tells what happens. A task that
// is launched twice ends the test with a panic.
type Rehearsal struct {
	grpc.BidiStreamingClient[pb.Call, pb.Event] // Of which only Send is used.

	info   *pb.FrameworkInfo
	file   string
	f      *Framework
	events []*pb.Event
	tasks  map[string]*rehearsed
	offers map[string]bool // Those without an answer.
	count  int
	isOver bool
}

type rehearsed struct {
	info   *pb.TaskInfo
	status *pb.TaskStatus
	taken  uint64 // The last update that was acknowledged.
}

// Rehearse begins a session. `dir` is for the file with the framework's id: that of t.TempDir(), say.
func Rehearse(dir string, info *pb.FrameworkInfo, scheduler Scheduler, believed ...string) *Rehearsal {
	r := &Rehearsal{info: info, file: filepath.Join(dir, "id"), tasks: make(map[string]*rehearsed)}
	r.Restart(scheduler, believed...)
	return r
}

// Restart is the death of the framework's process: the next one has this scheduler, the id, and what else it stored.
func (r *Rehearsal) Restart(scheduler Scheduler, believed ...string) {
	r.f = begin(r.info, r.file, scheduler, believed)
	r.FailOver()
}

// FailOver is the death of the leader: the next one knows all tasks, and no offer.
func (r *Rehearsal) FailOver() {
	r.events, r.offers, r.f.door = nil, make(map[string]bool), r
	said := &pb.Subscribed{FrameworkId: "F1-1"}
	for _, id := range slices.Sorted(maps.Keys(r.tasks)) {
		if task := r.tasks[id]; !IsTerminal(task.status.State) {
			snapshot := &pb.TaskStatus{TaskId: id, State: task.status.State, RunId: task.status.RunId}
			said.Tasks = append(said.Tasks, snapshot)
		}
	}
	r.tell(&pb.Event{Kind: &pb.Event_Subscribed{Subscribed: said}})
	for _, id := range slices.Sorted(maps.Keys(r.tasks)) {
		if task := r.tasks[id]; task.status.Sequence > task.taken {
			r.tell(&pb.Event{Kind: &pb.Event_Update{Update: task.status}})
		}
	}
}

// Offer offers a machine with so much room, whatever is wanted; the ids of the tasks that were launched on it.
func (r *Rehearsal) Offer(cpusMilli, memBytes uint64) (launched []string) {
	before := len(r.tasks)
	r.count++
	amount := &pb.Amount{Scalars: &pb.Quantities{CpusMilli: cpusMilli, MemBytes: memBytes}}
	offer := &pb.Offer{
		Id:        fmt.Sprintf("O%d", r.count),
		Agent:     &pb.AgentInfo{Id: "a1", Hostname: "a1"},
		Role:      r.info.Roles[0],
		Resources: &pb.Resources{Portions: []*pb.Portion{{Amount: amount}}},
	}
	r.offers[offer.Id] = true
	known := slices.Sorted(maps.Keys(r.tasks))
	r.tell(&pb.Event{Kind: &pb.Event_Offers{Offers: &pb.Offers{Offers: []*pb.Offer{offer}}}})
	if len(r.tasks) == before {
		return nil
	}
	return slices.DeleteFunc(slices.Sorted(maps.Keys(r.tasks)), func(id string) bool { return slices.Contains(known, id) })
}

// Report tells that a task stands otherwise now; whether that was taken in.
func (r *Rehearsal) Report(id string, state pb.TaskState) bool {
	task := r.tasks[id]
	status := &pb.TaskStatus{TaskId: id, State: state, RunId: task.status.RunId, Sequence: task.status.Sequence + 1}
	task.status = status
	r.tell(&pb.Event{Kind: &pb.Event_Update{Update: status}})
	return task.taken == status.Sequence
}

// States is how all tasks stand, in the words that users see.
func (r *Rehearsal) States() map[string]string {
	states := make(map[string]string)
	for id, task := range r.tasks {
		states[id] = Word(task.status.State)
	}
	return states
}

// Task is a task as it was launched.
func (r *Rehearsal) Task(id string) *pb.TaskInfo { return r.tasks[id].info }

// Wanted is how many tasks are demanded.
func (r *Rehearsal) Wanted() (count uint64) {
	for _, demand := range r.f.demands.Demands {
		count += demand.Count
	}
	return count
}

// OpenOffers is how many offers have no answer.
func (r *Rehearsal) OpenOffers() int { return len(r.offers) }

// IsOver tells whether the framework was torn down.
func (r *Rehearsal) IsOver() bool { return r.isOver }

func (r *Rehearsal) tell(event *pb.Event) {
	for r.events = append(r.events, event); len(r.events) > 0; {
		next := r.events[0]
		r.events = r.events[1:]
		if _, err := r.f.hear(next); err != nil {
			panic(err)
		}
	}
}

// Send is what the framework calls; it is for nobody else.
func (r *Rehearsal) Send(call *pb.Call) error {
	switch said := call.Kind.(type) {
	case *pb.Call_Accept:
		for _, part := range said.Accept.Parts {
			for _, id := range part.OfferIds {
				delete(r.offers, id)
			}
		}
		for _, id := range launched(call) {
			if known := r.tasks[id]; known != nil && known.status.State != pb.TaskState_TASK_DROPPED {
				panic("task " + id + " is launched twice")
			}
		}
		for _, part := range said.Accept.Parts {
			for _, operation := range part.Operations {
				for _, info := range operation.GetLaunch().GetTasks() {
					r.count++
					run := binary.BigEndian.AppendUint64(make([]byte, 8), uint64(r.count))
					r.tasks[info.Id] = &rehearsed{info: info, status: &pb.TaskStatus{TaskId: info.Id, State: pb.TaskState_TASK_STAGING, RunId: run}}
				}
			}
		}
	case *pb.Call_Decline:
		for _, id := range said.Decline.OfferIds {
			delete(r.offers, id)
		}
	case *pb.Call_Kill:
		if task := r.tasks[said.Kill.TaskId]; task != nil && !IsTerminal(task.status.State) {
			state := pb.TaskState_TASK_KILLED
			task.status = &pb.TaskStatus{TaskId: said.Kill.TaskId, State: state, RunId: task.status.RunId, Sequence: task.status.Sequence + 1}
			r.events = append(r.events, &pb.Event{Kind: &pb.Event_Update{Update: task.status}})
		}
	case *pb.Call_Reconcile:
		for _, id := range said.Reconcile.TaskIds {
			status := &pb.TaskStatus{TaskId: id, State: pb.TaskState_TASK_UNKNOWN}
			if task := r.tasks[id]; task != nil {
				status = task.status
			}
			r.events = append(r.events, &pb.Event{Kind: &pb.Event_Update{Update: status}})
		}
	case *pb.Call_Acknowledge:
		r.tasks[said.Acknowledge.TaskId].taken = said.Acknowledge.Sequence
		return nil
	case *pb.Call_Teardown:
		r.isOver = true
	}
	if call.OperationId != "" {
		answer := &pb.Answer{OperationId: call.OperationId, Outcome: &pb.Answer_Committed{Committed: &pb.Committed{}}}
		r.events = append(r.events, &pb.Event{Kind: &pb.Event_Answer{Answer: answer}})
	}
	return nil
}
