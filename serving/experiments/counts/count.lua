-- Counts an impression, or interactions with it. Returns 1 when the counts changed.
--
-- KEYS[1]  recsys:shown:IMPRESSION, a MessagePack array: 'shown' or 'clicked', key of the sums, key of the units, arm,
--          bucket, items; or 'early' and the items that were acted on before the impression came.
-- ARGV     items as hashes of four bytes, how long to keep KEYS[1] (ms), how long a slice of time is (ms), most new
--          KEYS[1] in it, prefix of their numbers by slice, key of the set of all keys; for an impression also the key
--          of the sums, the key of the units, arm, bucket, number of buckets.
local shown, items, keep, slice, most, opened, index =
  KEYS[1], ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5], ARGV[6]

-- Whether there may be one more key: all expire, so bounding the new ones in each slice bounds them all.
local function room()
  local time = redis.call('TIME')
  local key = opened .. string.format('%.0f', math.floor((time[1] * 1000 + math.floor(time[2] / 1000)) / slice))
  local count = redis.call('INCR', key)
  if count == 1 then
    redis.call('PEXPIRE', key, 2 * slice)
  end
  return count <= most
end

local function overlap(some, others)
  local found = {}
  for at = 1, #some, 4 do
    found[string.sub(some, at, at + 3)] = true
  end
  for at = 1, #others, 4 do
    if found[string.sub(others, at, at + 3)] then
      return true
    end
  end
  return false
end

-- Changes the counts of a unit (two numbers of 32 bits), and the sums by the difference that this makes to them.
local function add(sums, units, arm, bucket, impressions, clicks)
  local x = redis.call('BITFIELD', units, 'GET', 'u32', '#' .. 2 * bucket, 'GET', 'u32', '#' .. 2 * bucket + 1)
  redis.call('BITFIELD', units, 'INCRBY', 'u32', '#' .. 2 * bucket, impressions,
    'INCRBY', 'u32', '#' .. 2 * bucket + 1, clicks)
  local changes = {
    units = x[1] == 0 and impressions or 0,
    impressions = impressions,
    clicks = clicks,
    impressions_squared = impressions * (2 * x[1] + impressions),
    products = impressions * x[2] + clicks * x[1] + impressions * clicks,
    clicks_squared = clicks * (2 * x[2] + clicks),
  }
  if changes.units == 1 then
    redis.call('SADD', index, sums, units)
    local time = redis.call('TIME')
    redis.call('HSETNX', sums, 'since', string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000)))
  end
  for name, change in pairs(changes) do
    if change ~= 0 then
      redis.call('HINCRBY', sums, arm .. ':' .. name, string.format('%.0f', change))
    end
  end
end

local stored = redis.call('GET', shown)
local known = stored and cmsgpack.unpack(stored)

if ARGV[7] then -- an impression
  if known and known[1] ~= 'early' then
    return 0
  end
  if not known and not room() then
    return 0
  end
  local sums, units, arm, bucket = ARGV[7], ARGV[8], ARGV[9], tonumber(ARGV[10])
  if redis.call('EXISTS', units) == 0 then
    redis.call('SETRANGE', units, 8 * tonumber(ARGV[11]) - 1, '\0') -- at once: growing would reserve twice the memory
  end
  local clicked = known and overlap(items, known[2])
  redis.call('SET', shown, cmsgpack.pack({clicked and 'clicked' or 'shown', sums, units, arm, bucket, items}), 'PX', keep)
  add(sums, units, arm, bucket, 1, clicked and 1 or 0)
  return 1
end

if not known then
  if room() then
    redis.call('SET', shown, cmsgpack.pack({'early', items}), 'PX', keep)
  end
elseif known[1] == 'early' then
  if #known[2] < 4096 and not overlap(items, known[2]) then
    redis.call('SET', shown, cmsgpack.pack({'early', known[2] .. items}), 'KEEPTTL')
  end
elseif known[1] == 'shown' and overlap(known[6], items) then
  known[1] = 'clicked'
  redis.call('SET', shown, cmsgpack.pack(known), 'KEEPTTL')
  add(known[2], known[3], known[4], known[5], 0, 1)
  return 1
end
return 0
