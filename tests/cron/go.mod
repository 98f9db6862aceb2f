// Pins CronJob's own library, which the schedules of cleanups are compared with.
module testinium.io/testbed/cron

go 1.26.0

require github.com/robfig/cron/v3 v3.0.1
