-- Connections that stay open for so many milliseconds before they ask; what wrk counted, as one line of JSON.
local hold = 0

function init(args)
  hold = tonumber(args[1])
end

function delay()
  return hold
end

function done(summary)
  local errors = summary.errors
  io.write(string.format(
    '\n{"units":%d,"bytes":%d,"seconds":%.6f,"failures":{"connect":%d,"read":%d,"write":%d,"timeout":%d,"status":%d}}\n',
    summary.requests, summary.bytes, summary.duration / 1e6,
    errors.connect, errors.read, errors.write, errors.timeout, errors.status))
end
