package main

import (
	"maps"
	"slices"
	"testing"

	"stoa.example/sdk/stoa"
	pb "stoa.example/sdk/stoa/v1"
)

// What should hold of the framework when things go well and when they do not: keep what applies.

func fresh() (hello, []string) {
	tasks := hello{"hello.0": 0, "hello.1": 0, "hello.2": 0}
	return tasks, slices.Sorted(maps.Keys(tasks))
}

func rehearse(t *testing.T) (*stoa.Rehearsal, []string) {
	tasks, ids := fresh()
	return stoa.Rehearse(t.TempDir(), &pb.FrameworkInfo{Name: "hello", Roles: []string{"default"}}, tasks, ids...), ids
}

func TestItRunsEachOnceAndEnds(t *testing.T) {
	pool, ids := rehearse(t)
	for left := len(ids); left > 0; left-- {
		if pool.Wanted() != uint64(left) {
			t.Fatalf("it wants %d, and %d are left", pool.Wanted(), left)
		}
		pool.Offer(1000, 1<<30)
	}
	for _, id := range ids {
		pool.Report(id, pb.TaskState_TASK_RUNNING)
		if pool.IsOver() || !pool.Report(id, pb.TaskState_TASK_FINISHED) {
			t.Fatal("it ends early, or does not take an end in")
		}
	}
	if !pool.IsOver() {
		t.Fatal("all has run, and it goes on")
	}
}

func TestItTakesNoMoreThanItNeeds(t *testing.T) {
	pool, ids := rehearse(t)
	if launched := pool.Offer(10, 1<<20); launched != nil {
		t.Fatalf("%v do not fit", launched)
	}
	for range len(ids) + 2 {
		pool.Offer(1000, 1<<30)
	}
	if len(pool.States()) != len(ids) || pool.OpenOffers() != 0 || pool.Wanted() != 0 {
		t.Fatalf("%v, %d offers are kept", pool.States(), pool.OpenOffers())
	}
}

func TestALaunchThatCameToNothingIsTriedAgain(t *testing.T) {
	pool, _ := rehearse(t)
	launched := pool.Offer(1000, 1<<30)
	pool.Report(launched[0], pb.TaskState_TASK_DROPPED)
	for range 3 {
		pool.Offer(1000, 1<<30)
	}
	if state := pool.States()[launched[0]]; state != "staging" {
		t.Fatalf("it is %s", state)
	}
}

func TestItOutlivesLeadersAndItsOwnDeath(t *testing.T) {
	pool, ids := rehearse(t)
	first := pool.Offer(1000, 1<<30)[0]
	pool.Report(first, pb.TaskState_TASK_RUNNING)
	pool.FailOver()
	tasks, _ := fresh()
	pool.Restart(tasks, ids...)
	for range ids {
		pool.Offer(1000, 1<<30) // A second launch of the same task would end the test.
	}
	if len(pool.States()) != len(ids) || pool.States()[first] != "running" {
		t.Fatal(pool.States())
	}
}
