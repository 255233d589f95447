-- The numbers, counted anew from the events, beside those that are written: a row a cell. Straight sums and windows, and nothing of
-- the way in which the follower counts. Of the events those behind which it stands, whole ticks and the part of one.
--
-- $1: where buckets of lengths begin; $2, $3: currencies and how many digits stand behind the point; $4 to $8: what is written in the
-- hours, taken apart: of what, where, in which quarter, what else it is of, and its numbers.
WITH mark AS (
    SELECT t.before_tx, t.running, p.before_tx AS whole_before, p.running AS whole_running, c.subject, c.version
    FROM feed_cursors c JOIN feed_ticks t ON t.tick = c.tick AND t.at = c.noted_at
    LEFT JOIN LATERAL (SELECT before_tx, running FROM feed_ticks WHERE tick < c.tick ORDER BY tick DESC LIMIT 1) p ON true
    WHERE c.follower = 'roll_up'
), covered AS (
    SELECT e.subject, e.version, e.what, e.from_status, e.to_status, e.reason, e.payment_id, e.amount_minor, e.at, e.began_at,
        CASE WHEN strpos(e.items::text, '"adjustments"') > 0 THEN e.items END AS items
    FROM order_events e, mark m
    WHERE e.tx < m.before_tx AND e.tx <> ALL(m.running)
        AND (m.subject IS NULL OR (e.tx < m.whole_before AND e.tx <> ALL(m.whole_running))
             OR (e.subject, e.version) <= (m.subject, m.version))
), changes AS (
    SELECT subject, version, what, to_status, reason, payment_id, amount_minor, items, at FROM covered
    UNION ALL
    SELECT subject, version - 1, 'moved', 'PAYMENT_PROCESSING', NULL, NULL, NULL, NULL, began_at FROM covered
    WHERE began_at IS NOT NULL
), told AS (
    SELECT c.*, date_bin('15 minutes', c.at, '2000-01-01 00:00Z') AS quarter, o.location, coalesce(d.channel, '') AS channel,
        o.currency, o.customer_id, first.at AS accepted_at, first.amount_minor AS total, coalesce(first.reason, '') AS method,
        CASE WHEN c.to_status = 'CONFIRMED' THEN first.adjustments END AS beside,
        CASE WHEN c.to_status = 'CONFIRMED' AND strpos(first.items::text, '"adjustments"') > 0 THEN first.items END AS lines,
        lead(c.at) OVER moves AS left_at,
        sum(CASE WHEN c.what = 'collected' THEN -c.amount_minor
                 WHEN first.reason = 'on_delivery' AND c.what IN ('accepted', 'added') THEN c.amount_minor END) OVER so_far AS due,
        sum(c.amount_minor) FILTER (WHERE c.what = 'collected') OVER so_far AS collected
    FROM changes c JOIN orders o ON o.id = c.subject LEFT JOIN order_details d ON d.order_id = o.id
    JOIN order_events first ON first.subject = c.subject AND first.version = 1
    WHERE NOT EXISTS (SELECT FROM feed_aside a
                      WHERE a.follower = 'roll_up' AND a.subject = c.subject AND a.version = c.version)
    WINDOW so_far AS (PARTITION BY c.subject ORDER BY c.version),
        moves AS (PARTITION BY c.subject, c.to_status IS NOT NULL ORDER BY c.version)
), flows AS (
    SELECT *, 'charged' AS kind, amount_minor AS minor FROM told
    WHERE what IN ('moved', 'addition_charged', 'late_capture') AND amount_minor IS NOT NULL
    UNION ALL
    SELECT *, what::text, amount_minor FROM told WHERE what IN ('collected', 'refund_owed', 'refunded')
    UNION ALL
    SELECT *, 'elsewhere', total FROM told WHERE what = 'accepted' AND method = 'paid_elsewhere'
    UNION ALL
    SELECT *, 'elsewhere_back', total FROM told
    WHERE to_status IN ('REJECTED', 'CANCELLED') AND method = 'paid_elsewhere'
    UNION ALL
    SELECT *, 'elsewhere_back', -amount_minor FROM told
    WHERE what = 'kept' AND method = 'paid_elsewhere' AND payment_id = subject
    UNION ALL
    SELECT *, 'collected_back', collected::bigint FROM told
    WHERE to_status IN ('REJECTED', 'CANCELLED') AND collected IS NOT NULL
    UNION ALL
    SELECT *, 'collected_back', -amount_minor FROM told t
    WHERE what = 'kept' AND EXISTS (SELECT FROM told c WHERE c.subject = t.subject AND c.payment_id = t.payment_id
                                                        AND c.what = 'collected')
    UNION ALL
    SELECT *, 'due', amount_minor FROM told WHERE what IN ('accepted', 'added') AND method = 'on_delivery'
    UNION ALL
    SELECT *, 'due', -amount_minor FROM told WHERE what = 'collected'
    UNION ALL
    SELECT *, 'due', -due::bigint FROM told WHERE to_status IN ('REJECTED', 'CANCELLED') AND due <> 0
), beside AS (
    SELECT t.location, t.quarter, t.channel, t.currency, a.one FROM told t
    CROSS JOIN LATERAL (
        SELECT json_array_elements(t.beside) AS one
        UNION ALL
        SELECT json_array_elements(line -> 'adjustments') FROM json_array_elements(t.lines) line
    ) a
    UNION ALL
    SELECT t.location, t.quarter, t.channel, t.currency, json_array_elements(line -> 'adjustments')
    FROM told t JOIN told added ON added.subject = t.subject AND added.payment_id = t.payment_id AND added.what = 'added'
    CROSS JOIN LATERAL json_array_elements(added.items) line
    WHERE t.what = 'addition_charged' OR (t.what = 'added' AND t.method = 'on_delivery')
), stays AS (
    SELECT location, quarter, channel, to_status, greatest(0, floor(extract(epoch FROM left_at - at) * 1000))::bigint AS ms
    FROM told WHERE to_status IS NOT NULL AND left_at IS NOT NULL
), expected AS (
    SELECT 'orders' AS of, concat_ws('|', location, quarter, channel) AS key,
        ARRAY[count(*) FILTER (WHERE what = 'accepted'), count(*) FILTER (WHERE to_status = 'CONFIRMED'),
              count(*) FILTER (WHERE to_status = 'PAYMENT_FAILED'), count(*) FILTER (WHERE to_status = 'REJECTED'),
              count(*) FILTER (WHERE to_status = 'CANCELLED'), count(*) FILTER (WHERE to_status = 'DELIVERED')] AS numbers
    FROM told
    WHERE what = 'accepted' OR to_status IN ('CONFIRMED', 'PAYMENT_FAILED', 'REJECTED', 'CANCELLED', 'DELIVERED')
    GROUP BY location, quarter, channel
    UNION ALL
    SELECT 'entries', concat_ws('|', location, quarter, channel, to_status), ARRAY[count(*)]
    FROM told WHERE to_status IS NOT NULL GROUP BY location, quarter, channel, to_status
    UNION ALL
    SELECT 'stays', concat_ws('|', location, quarter, channel, to_status, width_bucket(ms, $1::bigint[])), ARRAY[count(*)]
    FROM stays GROUP BY location, quarter, channel, to_status, width_bucket(ms, $1::bigint[])
    UNION ALL
    SELECT 'lengths', concat_ws('|', location, quarter, channel, to_status), ARRAY[sum(ms)::bigint]
    FROM stays GROUP BY location, quarter, channel, to_status HAVING sum(ms) > 0
    UNION ALL
    SELECT 'money', concat_ws('|', location, quarter, channel, currency, kind), ARRAY[count(*), sum(minor)::bigint]
    FROM flows GROUP BY location, quarter, channel, currency, kind
    UNION ALL
    SELECT 'money', concat_ws('|', location, quarter, channel, currency, one ->> 'kind'),
        ARRAY[count(*), sum((one ->> 'amount')::numeric * 10::numeric ^ digits)::bigint]
    FROM beside JOIN unnest($2::text[], $3::int[]) AS known(code, digits) ON code = currency
    GROUP BY location, quarter, channel, currency, one ->> 'kind'
    UNION ALL
    SELECT 'reasons', concat_ws('|', location, quarter, channel, to_status, code), ARRAY[count(*)]
    FROM told CROSS JOIN LATERAL (
        SELECT CASE WHEN reason IS NULL THEN 'none' WHEN reason ~ '^[a-z][a-z0-9_]{0,49}$' THEN reason ELSE 'other' END AS code
    ) coded
    WHERE to_status IN ('PAYMENT_FAILED', 'REJECTED', 'CANCELLED')
    GROUP BY location, quarter, channel, to_status, code
    UNION ALL
    SELECT 'customers', concat_ws('|', customer_id, location, currency, min(accepted_at), max(accepted_at)),
        ARRAY[sum(accepted), sum(delivered), sum(paid), sum(back)]::bigint[]
    FROM (
        SELECT customer_id, location, currency, accepted_at, (what = 'accepted')::int AS accepted,
            (to_status IS NOT DISTINCT FROM 'DELIVERED')::int AS delivered, 0 AS paid, 0 AS back
        FROM told
        UNION ALL
        SELECT customer_id, location, currency, accepted_at, 0, 0,
            CASE WHEN kind IN ('charged', 'elsewhere', 'collected') THEN minor ELSE 0 END,
            CASE WHEN kind IN ('refund_owed', 'elsewhere_back', 'collected_back') THEN minor ELSE 0 END
        FROM flows
    ) of_it
    GROUP BY customer_id, location, currency
), written AS (
    SELECT of, concat_ws('|', location, quarter, rest) AS key, numbers::bigint[] AS numbers
    FROM unnest($4::text[], $5::text[], $6::timestamptz[], $7::text[], $8::text[]) AS taken_apart(of, location, quarter, rest, numbers)
    UNION ALL
    SELECT 'customers', concat_ws('|', customer_id, location, currency, first_at, last_at),
        ARRAY[orders, delivered, paid_minor, back_minor] FROM rolled_customers
)
SELECT of, key, e.numbers AS expected, w.numbers AS written FROM expected e FULL JOIN written w USING (of, key)
