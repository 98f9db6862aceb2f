// Does to objects what Flux does, by Flux' own libraries, without a Flux.
//
// "judge" says whether objects are ready: to kstatus as it is published, to the fork of it in Flux, and to the health
// checks that a Kustomization may have.
// Input: {"objects": [...], "healthCheckExprs": [...]}, the latter as a Kustomization has them.
// Output: a list with {"kstatus", "flux", "checked", "error"} for each object; "checked" and "error" are of the health
// check for its kind, and empty if there is none.
//
// "apply" brings objects to a cluster as kustomize-controller does at each interval, and "prune" takes them away.
// Input: {"kubeconfig": "...", "objects": [...]}. Output: a list of "created", "configured", "unchanged" and the like.
package main

import (
	"context"
	"encoding/json"
	"log"
	"os"

	flux "github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"github.com/fluxcd/pkg/apis/kustomize"
	"github.com/fluxcd/pkg/runtime/cel"
	"github.com/fluxcd/pkg/ssa"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/tools/clientcmd"
	published "sigs.k8s.io/cli-utils/pkg/kstatus/status"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

type input struct {
	Kubeconfig       string                        `json:"kubeconfig"`
	Objects          []json.RawMessage             `json:"objects"`
	HealthCheckExprs []kustomize.CustomHealthCheck `json:"healthCheckExprs"`
}

type verdict struct {
	Kstatus string `json:"kstatus"`
	Flux    string `json:"flux"`
	Checked string `json:"checked"`
	Error   string `json:"error"`
}

// The Kustomization that objects belong to.
const name, namespace = "test-plans", "flux-system"

func main() {
	log.SetFlags(0)
	var given input
	decoder := json.NewDecoder(os.Stdin)
	decoder.DisallowUnknownFields()
	must(decoder.Decode(&given))
	var objects []*unstructured.Unstructured
	for _, text := range given.Objects {
		// Whole numbers become int64, as they do for a client.
		object := &unstructured.Unstructured{}
		must(object.UnmarshalJSON(text))
		objects = append(objects, object)
	}
	var said any
	switch os.Args[1] {
	case "judge":
		said = judge(objects, given.HealthCheckExprs)
	case "apply":
		said = apply(managerOf(given.Kubeconfig), objects)
	case "prune":
		said = prune(managerOf(given.Kubeconfig), objects)
	default:
		log.Fatalf("%s is none of judge, apply and prune", os.Args[1])
	}
	must(json.NewEncoder(os.Stdout).Encode(said))
}

func judge(objects []*unstructured.Unstructured, expressions []kustomize.CustomHealthCheck) []verdict {
	newReader, err := cel.NewStatusReader(expressions)
	must(err)
	// Neither a mapper nor a cluster is asked for an object that is at hand.
	checks := newReader(nil).(*cel.StatusReader)
	verdicts := []verdict{}
	for _, object := range objects {
		one, err := published.Compute(object)
		must(err)
		other, err := flux.Compute(object)
		must(err)
		said := verdict{Kstatus: one.Status.String(), Flux: other.Status.String()}
		if checks.Supports(object.GroupVersionKind().GroupKind()) {
			checked, err := checks.ReadStatusForObject(context.Background(), nil, object)
			must(err)
			said.Checked = checked.Status.String()
			if checked.Error != nil {
				said.Error = checked.Error.Error()
			}
		}
		verdicts = append(verdicts, said)
	}
	return verdicts
}

func managerOf(kubeconfig string) *ssa.ResourceManager {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	must(err)
	cluster, err := client.New(config, client.Options{})
	must(err)
	owner := ssa.Owner{Field: "kustomize-controller", Group: "kustomize.toolkit.fluxcd.io"}
	return ssa.NewResourceManager(cluster, nil, owner)
}

func apply(manager *ssa.ResourceManager, objects []*unstructured.Unstructured) []string {
	options := ssa.DefaultApplyOptions()
	// The managers that kustomize-controller takes over: whatever begins so, since a match need not be exact.
	options.Cleanup.Annotations = []string{"kubectl.kubernetes.io/last-applied-configuration"}
	options.Cleanup.FieldManagers = []ssa.FieldManager{
		{Name: "kubectl", OperationType: meta.ManagedFieldsOperationApply},
		{Name: "kubectl", OperationType: meta.ManagedFieldsOperationUpdate},
		{Name: "before-first-apply", OperationType: meta.ManagedFieldsOperationUpdate},
		{Name: "kustomize-controller", OperationType: meta.ManagedFieldsOperationUpdate},
	}
	manager.SetOwnerLabels(objects, name, namespace)
	actions := []string{}
	for _, object := range objects {
		change, err := manager.Apply(context.Background(), object, options)
		must(err)
		actions = append(actions, change.Action.String())
	}
	return actions
}

func prune(manager *ssa.ResourceManager, objects []*unstructured.Unstructured) []string {
	options := ssa.DefaultDeleteOptions()
	options.Inclusions = manager.GetOwnerLabels(name, namespace)
	actions := []string{}
	for _, object := range objects {
		change, err := manager.Delete(context.Background(), object, options)
		must(err)
		actions = append(actions, change.Action.String())
	}
	return actions
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
