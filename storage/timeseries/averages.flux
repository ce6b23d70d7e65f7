import "date"

option task = {name: "$name", every: 1m}
start = date.truncate(t: -2h, unit: ${step}s)
of_all = from(bucket: "$bucket") |> range(start: start) |> filter(fn: (r) => r._measurement == "$reading") |> map(fn: (r) => ({r with _measurement: "$measurement"}))
values = of_all |> filter(fn: (r) => $fields)
values |> aggregateWindow(every: ${step}s, timeSrc: "_start", createEmpty: false, fn: mean) |> to(bucket: "$bucket/$level", tagColumns: [$tags])
values |> aggregateWindow(every: ${step}s, timeSrc: "_start", createEmpty: false, fn: min) |> map(fn: (r) => ({r with _field: r._field + "_min"})) |> to(bucket: "$bucket/$level", tagColumns: [$tags])
values |> aggregateWindow(every: ${step}s, timeSrc: "_start", createEmpty: false, fn: max) |> map(fn: (r) => ({r with _field: r._field + "_max"})) |> to(bucket: "$bucket/$level", tagColumns: [$tags])
of_all |> filter(fn: (r) => r._field == "received") |> aggregateWindow(every: ${step}s, timeSrc: "_start", createEmpty: false, fn: count) |> map(fn: (r) => ({r with _field: "n"})) |> to(bucket: "$bucket/$level", tagColumns: [$tags])
