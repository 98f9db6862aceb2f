// Runs a script of Argo CD over objects, under the restrictions that Argo CD has for scripts from its ConfigMap: the
// libraries base, package and table, a module "os" with time and date alone, one second, and one global, obj.
//
// Argument: "health", "discovery" or "action". Input: {"script": "...", "objects": [...]}.
// Output: a list with what the script returned for each object. Of an action that is the changed object, in which tables
// that are empty are again what they were: to Lua an empty list and an empty map are the same.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"slices"
	"strings"
	"time"

	lua "github.com/yuin/gopher-lua"
	luajson "layeh.com/gopher-json"
)

type input struct {
	Script  string `json:"script"`
	Objects []any  `json:"objects"`
}

// What Argo CD takes for a health; anything else is shown as Unknown.
var healths = []string{"Healthy", "Progressing", "Degraded", "Suspended", "Missing", "Unknown"}

func main() {
	log.SetFlags(0)
	var given input
	must(json.NewDecoder(os.Stdin).Decode(&given))
	results := []any{}
	for _, object := range given.Objects {
		result, err := run(given.Script, object)
		must(err)
		switch os.Args[1] {
		case "health":
			must(checkHealth(result))
		case "discovery":
		case "action":
			result = restoreEmpty(result, object)
		default:
			log.Fatalf("%s is none of health, discovery and action", os.Args[1])
		}
		results = append(results, result)
	}
	must(json.NewEncoder(os.Stdout).Encode(results))
}

// What the script returns for an object. It must be a table.
func run(script string, object any) (any, error) {
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	libraries := []struct {
		name string
		open lua.LGFunction
	}{{lua.LoadLibName, lua.OpenPackage}, {lua.BaseLibName, lua.OpenBase}, {lua.TabLibName, lua.OpenTable}}
	for _, library := range libraries {
		call := lua.P{Fn: state.NewFunction(library.open), Protect: true}
		if err := state.CallByParam(call, lua.LString(library.name)); err != nil {
			return nil, err
		}
	}
	state.PreloadModule("os", safeOS)
	limit, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	state.SetContext(limit)
	state.SetGlobal("obj", luajson.DecodeValue(state, object))
	if err := state.DoString(script); err != nil {
		return nil, err
	}
	returned := state.Get(-1)
	if returned.Type() != lua.LTTable {
		return nil, fmt.Errorf("the script returned a %s instead of a table", returned.Type())
	}
	text, err := luajson.Encode(returned)
	if err != nil {
		return nil, err
	}
	var result any
	return result, json.Unmarshal(text, &result)
}

// The module that scripts get by require("os"). It knows the one format that scripts use.
func safeOS(state *lua.LState) int {
	state.Push(state.SetFuncs(state.NewTable(), map[string]lua.LGFunction{
		"time": func(state *lua.LState) int {
			state.Push(lua.LNumber(time.Now().Unix()))
			return 1
		},
		"date": func(state *lua.LState) int {
			parts := strings.NewReplacer("!", "", "%Y", "2006", "%m", "01", "%d", "02", "%X", "15:04:05")
			layout := parts.Replace(state.CheckString(1))
			state.Push(lua.LString(time.Now().UTC().Format(layout)))
			return 1
		},
	}))
	return 1
}

func checkHealth(result any) error {
	fields, _ := result.(map[string]any)
	if status, _ := fields["status"].(string); !slices.Contains(healths, status) {
		return fmt.Errorf("%v has no status that is one of %v", result, healths)
	}
	if _, isText := fields["message"].(string); !isText {
		return fmt.Errorf("%v has no message", result)
	}
	return nil
}

// The value after an action, with empty maps where there were some before.
func restoreEmpty(after, before any) any {
	switch was := before.(type) {
	case map[string]any:
		if list, isList := after.([]any); isList && len(list) == 0 {
			return was
		}
		if now, isMap := after.(map[string]any); isMap {
			for name := range now {
				now[name] = restoreEmpty(now[name], was[name])
			}
		}
	case []any:
		if now, isList := after.([]any); isList && len(now) == len(was) {
			for index := range now {
				now[index] = restoreEmpty(now[index], was[index])
			}
		}
	}
	return after
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
