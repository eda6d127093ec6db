-- Lets wrk print its result as one line of JSON, as the other programs do.
function done(summary, latency, requests)
    local errors = 0
    for _, count in pairs(summary.errors) do
        errors = errors + count
    end
    io.write(string.format(
        '{"requests": %d, "errors": %d, "requests_per_second": %.1f, ' ..
        '"p50_us": %.1f, "p99_us": %.1f, "p999_us": %.1f}\n',
        summary.requests, errors, summary.requests / summary.duration * 1e6,
        latency:percentile(50), latency:percentile(99), latency:percentile(99.9)))
end
