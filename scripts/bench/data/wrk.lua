-- What wrk counted, as one line of JSON; and a body to send where an argument gives its length.
function init(args)
  if args[1] then
    wrk.method = "POST"
    wrk.body = string.rep("x", tonumber(args[1]))
  end
end

function done(summary)
  local errors = summary.errors
  io.write(string.format(
    '\n{"units":%d,"bytes":%d,"seconds":%.6f,"failures":{"connect":%d,"read":%d,"write":%d,"timeout":%d,"status":%d}}\n',
    summary.requests, summary.bytes, summary.duration / 1e6,
    errors.connect, errors.read, errors.write, errors.timeout, errors.status))
end
