-- What wrk counted, as one line of JSON. Arguments: the length of a body to send (0: none), and the milliseconds for which
-- a connection stays open before it asks. wrk calls delay() for each request where there is one, so there is none else.
function init(args)
  local length, hold = tonumber(args[1] or 0), tonumber(args[2] or 0)
  if length > 0 then
    wrk.method = "POST"
    wrk.body = string.rep("x", length)
  end
  if hold > 0 then
    function delay()
      return hold
    end
  end
end

function done(summary)
  local errors = summary.errors
  io.write(string.format(
    '\n{"units":%d,"bytes":%d,"seconds":%.6f,"failures":{"connect":%d,"read":%d,"write":%d,"timeout":%d,"status":%d}}\n',
    summary.requests, summary.bytes, summary.duration / 1e6,
    errors.connect, errors.read, errors.write, errors.timeout, errors.status))
end
