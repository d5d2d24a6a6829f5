package stoa

import (
	"strings"

	pb "stoa.example/sdk/stoa/v1"
)

// IsTerminal tells whether a task in this state is over for good.
func IsTerminal(state pb.TaskState) bool {
	switch state {
	case pb.TaskState_TASK_FINISHED, pb.TaskState_TASK_FAILED, pb.TaskState_TASK_KILLED, pb.TaskState_TASK_ERROR,
		pb.TaskState_TASK_LOST, pb.TaskState_TASK_DROPPED, pb.TaskState_TASK_GONE, pb.TaskState_TASK_GONE_BY_OPERATOR:
		return true
	}
	return false
}

// Word is the word users see.
func Word(state pb.TaskState) string {
	return strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(state.String(), "TASK_")), "_", "-")
}

// Take takes thousandths of a cpu and bytes of memory out of an offer, of what is reserved for nobody; nil if they are not
// there. What was taken is in the offer no more.
func Take(offer *pb.Offer, cpusMilli, memBytes uint64) *pb.Resources {
	for _, portion := range offer.Resources.GetPortions() {
		have := portion.Amount.GetScalars()
		if portion.Reservation == nil && portion.Volume == nil && have.GetCpusMilli() >= cpusMilli && have.GetMemBytes() >= memBytes {
			have.CpusMilli -= cpusMilli
			have.MemBytes -= memBytes
			taken := &pb.Amount{Scalars: &pb.Quantities{CpusMilli: cpusMilli, MemBytes: memBytes}}
			return &pb.Resources{Portions: []*pb.Portion{{Amount: taken}}}
		}
	}
	return nil
}

// Shell is a task that runs a script by /bin/sh -c on what was taken of an offer.
func Shell(id, script string, taken *pb.Resources) *pb.TaskInfo {
	command := &pb.CommandInfo{Argv: []string{script}, Shell: true}
	return &pb.TaskInfo{Id: id, Name: id, Command: command, Resources: taken, KillGraceMs: 3000}
}
