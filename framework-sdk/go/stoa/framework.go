// Package stoa keeps a framework's session with the leading master, on code that protoc generates from proto/v1.
//
// It finds the leader and comes back after a failover, sends each call until it is answered, asks for tasks that a snapshot
// lacks, acknowledges an update once the scheduler has taken it in, and declines offers that were not used.
package stoa

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	pb "stoa.example/sdk/stoa/v1"
)

// Pause between two tries: a framework that hurries keeps the masters down when they come up.
const pause = 200 * time.Millisecond

// The session goes no further, and the next one may.
var errAgain = errors.New("try again")

// Scheduler decides what runs. It is called from one goroutine, between heartbeats: it must not block for seconds.
type Scheduler interface {
	// Offers are told; those that are not accepted when this returns are declined.
	Offers(f *Framework, offers []*pb.Offer)
	// Update tells how a task stands. An error leaves it unacknowledged: then it comes again.
	Update(f *Framework, status *pb.TaskStatus) error
}

// Framework is a framework that runs.
type Framework struct {
	info      *pb.FrameworkInfo
	scheduler Scheduler
	context   *Context
	file      string // Keeps the framework's id: its claim to its tasks.
	door      grpc.BidiStreamingClient[pb.Call, pb.Event]
	life      string // No two lives of a framework share an id of a call.
	calls     int
	demands   *pb.UpdateDemands
	pending   []*pb.Call // Sent and not answered, in order.
	fence     string     // The call behind which an unknown task is one that never was.
	known     map[string]*known
	missing   map[string]bool // Believed to be alive, and not in the snapshot.
	open      map[string]*pb.Offer
}

// What is known of one task.
type known struct {
	run   []byte
	done  uint64 // The last update that was taken in.
	state pb.TaskState
}

// Run keeps the session of a framework with the cluster of LoadContext until it is torn down. Its id is kept in a file, below
// the directory that STOA_DATA names, if it is set. `believed` are ids of tasks that an earlier life may have launched: of
// each the scheduler is told how it stands, or that nobody knows it.
func Run(info *pb.FrameworkInfo, file string, scheduler Scheduler, believed ...string) error {
	context, err := LoadContext()
	if err != nil {
		return err
	}
	if data := os.Getenv("STOA_DATA"); data != "" && !filepath.IsAbs(file) {
		file = filepath.Join(data, file)
	}
	f := begin(info, file, scheduler, believed)
	f.context = context
	for at := 0; ; at++ {
		if over, err := f.session(context.Masters[at%len(context.Masters)]); over || err != nil {
			return err
		}
		time.Sleep(pause)
	}
}

// A life of a framework.
func begin(info *pb.FrameworkInfo, file string, scheduler Scheduler, believed []string) *Framework {
	f := &Framework{info: info, scheduler: scheduler, file: file, life: rand.Text()}
	f.known = make(map[string]*known)
	f.demands = &pb.UpdateDemands{DemandDriven: true}
	for _, task := range believed {
		f.known[task] = &known{}
	}
	return f
}

// Accept launches tasks on an offer.
func (f *Framework) Accept(offer *pb.Offer, tasks ...*pb.TaskInfo) {
	launch := &pb.Operation{Kind: &pb.Operation_Launch{Launch: &pb.Launch{Tasks: tasks}}}
	part := &pb.AcceptPart{OfferIds: []string{offer.Id}, Operations: []*pb.Operation{launch}}
	accept := &pb.Accept{Parts: []*pb.AcceptPart{part}, Filter: &pb.Filter{RefuseMs: 1000}}
	for _, task := range tasks {
		f.known[task.Id] = &known{}
	}
	delete(f.open, offer.Id)
	f.ask(&pb.Call{Kind: &pb.Call_Accept{Accept: accept}})
}

// Demand says all that is wanted from now on, so many tasks of one shape: offers come for that only, and none for nothing.
func (f *Framework) Demand(count int, cpusMilli, memBytes uint64) {
	shape := &pb.Amount{Scalars: &pb.Quantities{CpusMilli: cpusMilli, MemBytes: memBytes}}
	demands := &pb.UpdateDemands{DemandDriven: true}
	if count > 0 {
		demand := &pb.Demand{Id: "tasks", Role: f.info.Roles[0], Shape: shape, Count: uint64(count)}
		demands.Demands = append(demands.Demands, demand)
	}
	if !proto.Equal(demands, f.demands) {
		f.demands = demands // The next session begins with it, so it is sent once.
		f.send(&pb.Call{OperationId: rand.Text(), Kind: &pb.Call_UpdateDemands{UpdateDemands: demands}})
	}
}

// Kill ends a task.
func (f *Framework) Kill(task string) {
	f.ask(&pb.Call{Kind: &pb.Call_Kill{Kill: &pb.Kill{TaskId: task}}})
}

// Teardown ends the framework and all its tasks; then Run returns.
func (f *Framework) Teardown() {
	f.ask(&pb.Call{Kind: &pb.Call_Teardown{Teardown: &pb.Teardown{}}})
}

// Sends a call until it is answered.
func (f *Framework) ask(call *pb.Call) {
	f.calls++
	call.OperationId = fmt.Sprintf("%s-%d", f.life, f.calls)
	f.pending = append(f.pending, call)
	f.send(call)
}

// A call that cannot be sent is lost with its session, which Recv tells.
func (f *Framework) send(call *pb.Call) { _ = f.door.Send(call) }

// One session with one master; whether the framework is over.
func (f *Framework) session(master string) (bool, error) {
	link, err := f.context.dial(master)
	if err != nil {
		return false, err
	}
	defer link.Close()
	if f.door, err = pb.NewSchedulerClient(link).Session(context.Background()); err != nil {
		return false, nil
	}
	subscribe := &pb.Subscribe{Framework: f.info, Demands: f.demands}
	if id, err := os.ReadFile(f.file); err == nil && len(id) > 0 {
		subscribe.FrameworkId = new(string(id))
	} else if err != nil && !errors.Is(err, os.ErrNotExist) {
		return false, err
	}
	f.send(&pb.Call{Kind: &pb.Call_Subscribe{Subscribe: subscribe}})
	for {
		event, err := f.door.Recv()
		if err != nil {
			return false, fatal(err) // Mostly another master leads by now.
		}
		over, err := f.hear(event)
		if errors.Is(err, errAgain) {
			return false, nil
		}
		if over || err != nil {
			return over, err
		}
	}
}

// Takes an event in; whether the framework is over.
func (f *Framework) hear(event *pb.Event) (bool, error) {
	switch said := event.Kind.(type) {
	case *pb.Event_Subscribed:
		return false, f.stands(said.Subscribed)
	case *pb.Event_Offers:
		f.offers(said.Offers.Offers)
	case *pb.Event_Rescind:
		delete(f.open, said.Rescind.OfferId)
	case *pb.Event_Update:
		f.update(said.Update)
	case *pb.Event_Heartbeat: // Answered, it is ours as well.
		f.send(&pb.Call{Kind: &pb.Call_Heartbeat{Heartbeat: &pb.Empty{}}})
	case *pb.Event_Answer:
		return f.answered(said.Answer)
	case *pb.Event_Fault:
		if said.Fault.Refusal.Code == "framework-removed" && slices.ContainsFunc(f.pending, isTeardown) {
			return true, os.Remove(f.file) // The answer died with the leader that gave it.
		}
		return false, refused(said.Fault.Refusal)
	case *pb.Event_Redirect: // The others are asked in turn.
		return false, errAgain
	}
	return false, nil
}

// The session stands, with a snapshot: no session is resumed here.
func (f *Framework) stands(said *pb.Subscribed) error {
	if err := keep(f.file, said.FrameworkId); err != nil {
		return err
	}
	f.open = make(map[string]*pb.Offer)
	f.missing = make(map[string]bool)
	for task, known := range f.known {
		if !IsTerminal(known.state) {
			f.missing[task] = true
		}
	}
	for _, call := range f.pending {
		f.send(call) // The master carries the same id out once.
		for _, task := range launched(call) {
			delete(f.missing, task)
		}
	}
	for _, status := range said.Tasks {
		f.update(status)
	}
	if len(f.missing) > 0 {
		// It is logged, behind all that was asked before: only then is a task that nobody knows one that never was.
		f.ask(&pb.Call{Kind: &pb.Call_UpdateFramework{UpdateFramework: &pb.UpdateFramework{Framework: f.info}}})
		f.fence = f.pending[len(f.pending)-1].OperationId
	}
	return nil
}

func (f *Framework) offers(offers []*pb.Offer) {
	for _, offer := range offers {
		f.open[offer.Id] = offer
	}
	f.scheduler.Offers(f, offers)
	decline := &pb.Decline{Reason: pb.DeclineReason_UNUSED, Filter: &pb.Filter{RefuseMs: 5000}}
	for _, offer := range offers {
		if f.open[offer.Id] != nil {
			decline.OfferIds = append(decline.OfferIds, offer.Id)
			delete(f.open, offer.Id)
		}
	}
	if len(decline.OfferIds) > 0 {
		// It means nothing to another session, so it is sent once.
		f.send(&pb.Call{OperationId: rand.Text(), Kind: &pb.Call_Decline{Decline: decline}})
	}
}

func (f *Framework) update(status *pb.TaskStatus) {
	delete(f.missing, status.TaskId)
	task := f.known[status.TaskId]
	if task == nil || len(status.RunId) > 0 && bytes.Compare(status.RunId, task.run) > 0 {
		task = &known{run: status.RunId}
		f.known[status.TaskId] = task
	}
	earlier := len(status.RunId) > 0 && !bytes.Equal(status.RunId, task.run) // A life of the same name before this one.
	// The last update may come again behind the master's word that the task is out of sight, or on its way: it is back.
	mayAdvance := status.Sequence == 0 || status.Sequence == task.done
	news := status.Sequence > task.done || mayAdvance && advances(task.state, status.State)
	if news && !earlier && !IsTerminal(task.state) {
		if err := f.scheduler.Update(f, status); err != nil {
			log.Printf("update %d of task %s comes again: %v", status.Sequence, status.TaskId, err)
			return
		}
		task.done = max(task.done, status.Sequence)
		task.state = status.State
	}
	if status.State == pb.TaskState_TASK_UNKNOWN {
		delete(f.known, status.TaskId)
	}
	if status.Sequence > 0 {
		ack := &pb.Acknowledge{TaskId: status.TaskId, RunId: status.RunId, Sequence: status.Sequence}
		f.send(&pb.Call{Kind: &pb.Call_Acknowledge{Acknowledge: ack}})
	}
}

// Whether it was the answer to the teardown.
func (f *Framework) answered(answer *pb.Answer) (bool, error) {
	at := slices.IndexFunc(f.pending, func(call *pb.Call) bool { return call.OperationId == answer.OperationId })
	if at < 0 {
		return false, nil
	}
	call, refusal := f.pending[at], answer.GetRefused()
	err := refused(refusal)
	if errors.Is(err, errAgain) {
		return false, err
	}
	f.pending = slices.Delete(f.pending, at, at+1)
	if err != nil {
		log.Print(err)
		for _, task := range launched(call) {
			f.update(&pb.TaskStatus{TaskId: task, State: pb.TaskState_TASK_DROPPED, Message: refusal.Message})
		}
		return false, nil
	}
	if isTeardown(call) {
		return true, os.Remove(f.file)
	}
	if call.OperationId == f.fence && len(f.missing) > 0 {
		reconcile := &pb.Reconcile{TaskIds: slices.Sorted(maps.Keys(f.missing))}
		f.ask(&pb.Call{Kind: &pb.Call_Reconcile{Reconcile: reconcile}})
	}
	return false, nil
}

func launched(call *pb.Call) (tasks []string) {
	for _, part := range call.GetAccept().GetParts() {
		for _, operation := range part.Operations {
			for _, task := range operation.GetLaunch().GetTasks() {
				tasks = append(tasks, task.Id)
			}
		}
	}
	return tasks
}

func isTeardown(call *pb.Call) bool { return call.GetTeardown() != nil }

// What a refusal means for whom it was told: nil for none, errAgain for one that passes.
func refused(refusal *pb.Refusal) error {
	switch refusal.GetCode() {
	case "":
		return nil
	case "leader-lost", "unavailable", "too-much":
		return errAgain
	}
	return fmt.Errorf("refused: %s: %s (%s)", refusal.Code, refusal.Message, refusal.Help)
}

// Whether a status without a place in its run's stream says more than is known: it may be an older one.
func advances(known, said pb.TaskState) bool {
	const unreachable, unknown = pb.TaskState_TASK_UNREACHABLE, pb.TaskState_TASK_UNKNOWN
	return known != said && (known == unreachable || said == unreachable || said == unknown || said > known)
}
