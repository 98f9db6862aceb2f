// What robfig/cron, by which CronJob runs, says around changes of the clock: one line for each instant. To make the list
// anew, run in this folder: go run . > ../../src/machine/cleanups/instants.txt
package main

import (
	"bufio"
	"fmt"
	"os"
	"time"
	_ "time/tzdata"

	"github.com/robfig/cron/v3"
)

// Days on which the clock changes, with the zones in which it does, and some in which it does not.
var days = []struct{ zone, day string }{
	{"UTC", "2026-02-27"},
	{"UTC", "2028-02-28"},
	{"Asia/Kolkata", "2026-12-31"},
	{"Europe/Berlin", "2026-03-28"},
	{"Europe/Berlin", "2026-10-24"},
	{"Europe/Dublin", "2026-03-28"},
	{"Europe/Dublin", "2026-10-24"},
	{"Europe/London", "2026-03-28"},
	{"Europe/London", "2026-10-24"},
	{"Europe/Istanbul", "2015-11-07"},
	{"Europe/Istanbul", "2026-03-28"},
	{"America/New_York", "2026-03-07"},
	{"America/New_York", "2026-10-31"},
	// The change is at midnight.
	{"America/Havana", "2024-03-09"},
	{"America/Havana", "2024-11-02"},
	{"America/Sao_Paulo", "2018-11-03"},
	{"America/Sao_Paulo", "2018-02-17"},
	{"Asia/Beirut", "2024-03-30"},
	{"Africa/Cairo", "2024-04-25"},
	{"Africa/Cairo", "2024-10-31"},
	// The change is by half an hour.
	{"Australia/Lord_Howe", "2024-10-05"},
	{"Australia/Lord_Howe", "2024-04-06"},
}

var expressions = []string{
	"@hourly", "@daily", "@weekly", "@monthly", "@yearly",
	"* * * * *", "*/7 * * * *", "5/20 * * * *", "0 0 * * *", "30 0 * * *", "0 1 * * *", "30 1 * * *", "45 1 * * *",
	"0 2 * * *", "15 2 * * *", "30 2 * * *", "59 2 * * *", "0 3 * * *", "30 3 * * *", "*/30 1-3 * * *", "0 */3 * * *",
	"15 23 * * *", "0 0 * * sun", "30 2 * * 0", "0 12 1 * 1", "0 12 */2 * 1", "0 12 1-7 * MON-FRI", "0 0 29 2 *",
	"0 0 31 * *", "0 0 30 2 *", "30 1 * mar,oct ?", "0 22 * * 1-5", "0 0 1 jan *", "10-20/5 4 ? 2-11 *",
}

func main() {
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	fmt.Fprintln(out, "# zone | expression | after | next; made by robfig/cron: see tests/cron/main.go")
	for _, change := range days {
		zone, err := time.LoadLocation(change.zone)
		if err != nil {
			panic(err)
		}
		start, err := time.ParseInLocation(time.DateOnly, change.day, zone)
		if err != nil {
			panic(err)
		}
		for _, expression := range expressions {
			schedule, err := cron.ParseStandard(expression)
			if err != nil {
				panic(err)
			}
			after := start.Add(11*time.Hour + 29*time.Minute + 30*time.Second)
			for range 5 {
				next := schedule.Next(after.In(zone))
				// What a country decides next may not be in every database yet.
				if start.Year() < 2026 && next.Year() > 2025 {
					break
				}
				text := "never"
				if !next.IsZero() {
					text = next.UTC().Format(time.RFC3339)
				}
				fmt.Fprintf(out, "%s | %s | %s | %s\n", change.zone, expression, after.UTC().Format(time.RFC3339), text)
				if next.IsZero() {
					break
				}
				after = next
				// Frequent ones are looked at in the night alone.
				if before := start.Add(23 * time.Hour); next.Before(before) {
					after = before
				}
			}
		}
	}
}
