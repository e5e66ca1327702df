-- This script contains all queries and changes of the store. Redis runs a script as one atomic
-- operation.
--
-- KEYS[1] is the prefix of all keys. ARGV[1] is the name of a command, and its arguments follow. A
-- change returns 'OK' or the name of an error. Every time is a string of TIME digits, because a
-- number in Lua has only 53 bits. An empty time means never.

local TIME = 18
local PAGE = 200  -- index entries that walk reads per call of Redis
local STEP = 1000 -- live tokens that one call of prune visits

local prefix = KEYS[1]
local call = redis.call
local commands = {}

local function key(kind, rest) return prefix .. kind .. ':' .. (rest or '') end

-- id_in returns the ID in a position, which is a time and an ID.
local function id_in(position) return string.sub(position, TIME + 1) end

-- load returns the record with an ID as a table, or nil if there is no such record.
local function load(id)
  local flat = call('HGETALL', key('token', id))
  if #flat == 0 then return nil end
  local r = {}
  for i = 1, #flat, 2 do r[flat[i]] = flat[i + 1] end
  return r
end

-- flatten returns a record as a list of fields and values.
local function flatten(r)
  local flat = {}
  for field, value in pairs(r) do
    table.insert(flat, field)
    table.insert(flat, value)
  end
  return flat
end

-- with returns a copy of a record with the fields and values ARGV[first] to ARGV[last].
local function with(r, first, last)
  local copy = {}
  for field, value in pairs(r) do copy[field] = value end
  for i = first, last, 2 do copy[ARGV[i]] = ARGV[i + 1] end
  return copy
end

-- Only strings of digits are compared with < and <=. The order of all other strings depends on the
-- locale of the server.

local function is_expired(r, at) return r.expires ~= '' and r.expires <= at end

local function is_idle(r, since) return since ~= '' and r.created <= since and r.used <= since end

-- ended returns the time at which a record expires or was revoked, whichever is earlier. Prune keeps
-- imported records, so ended returns '' for them.
local function ended(r)
  if r.origin ~= '' then return '' end
  if r.expires == '' or r.revoked ~= '' and r.revoked < r.expires then return r.revoked end
  return r.expires
end

-- entries returns all index entries of a record, as lists of key, member and score. An entry without
-- a score is a field of a hash, and its value is the ID. In an index of positions, all members have
-- the score 0, because Redis sorts members with the same score byte by byte.
local function entries(r)
  local position = r.created .. r.id
  local list = {
    {key('digests'), r.digest},
    {key('all'), position, 0},
    {key('user-all', r.user), position, 0},
  }
  if r.retired ~= '' then table.insert(list, {key('digests'), r.retired}) end
  if r.created_by ~= '' then table.insert(list, {key('created', r.created_by), position, 0}) end
  if ended(r) ~= '' then table.insert(list, {key('ended'), ended(r) .. r.id, 0}) end
  if r.revoked ~= '' then return list end
  table.insert(list, {key('live'), position, 0})
  table.insert(list, {key('user-live', r.user), position, 0})
  table.insert(list, {key('user-names', r.user), r.name})
  if r.slot ~= '0' then table.insert(list, {key('user-slots', r.user), r.id, r.slot}) end
  return list
end

local function remove_entries(r)
  for _, e in ipairs(entries(r)) do
    if e[3] then call('ZREM', e[1], e[2]) else call('HDEL', e[1], e[2]) end
  end
end

-- save replaces the record old with r, and moves the index entries. For a new record, old is nil. A
-- server without free memory refuses a script whose first change needs memory. Therefore save first
-- removes entries, so that tokens can be revoked on such a server.
local function save(old, r)
  if old then remove_entries(old) end
  for _, e in ipairs(entries(r)) do
    if e[3] then call('ZADD', e[1], e[3], e[2]) else call('HSET', e[1], e[2], r.id) end
  end
  call('HSET', key('token', r.id), unpack(flatten(r)))
end

local function delete(r)
  remove_entries(r)
  call('DEL', key('token', r.id))
end

local function revoke(r, at, by)
  local revoked = with(r, 1, 0)
  revoked.revoked, revoked.revoked_by, revoked.slot = at, by, '0'
  save(r, revoked)
end

local function digest_taken(digest) return call('HEXISTS', key('digests'), digest) == 1 end

local function name_taken(r)
  local owner = call('HGET', key('user-names', r.user), r.name)
  return owner and owner ~= r.id
end

local function slot_taken(r)
  return r.slot ~= '0' and call('ZCOUNT', key('user-slots', r.user), r.slot, r.slot) > 0
end

-- conflict returns the error because of which a record cannot be added, or nil.
local function conflict(r)
  if digest_taken(r.digest) then return 'ErrKeyTaken' end
  if r.retired ~= '' and digest_taken(r.retired) then return 'ErrKeyTaken' end
  if r.revoked ~= '' then return nil end
  if name_taken(r) then return 'ErrNameTaken' end
  if slot_taken(r) then return 'ErrSlotTaken' end
end

-- create SIZE FIELD VALUE…: each record has SIZE arguments. If a record cannot be added, create
-- returns the error and the number of the record. Redis does not roll a script back, so create
-- first deletes the records that it has added.
function commands.create()
  local size, added = tonumber(ARGV[2]), {}
  for first = 3, #ARGV, size do
    local r = with({}, first, first + size - 1)
    local old = load(r.id)
    if not old or old.user ~= r.user or old.digest ~= r.digest then
      local err = old and 'ErrKeyTaken' or conflict(r)
      if err then
        for _, other in ipairs(added) do delete(other) end
        return {err, (first - 3) / size}
      end
      save(nil, r)
      table.insert(added, r)
    end
  end
  return 'OK'
end

-- find DIGEST returns the record as a list of fields and values, or an empty list.
function commands.find()
  local id = call('HGET', key('digests'), ARGV[2])
  return id and call('HGETALL', key('token', id)) or {}
end

-- walk calls visit with the ID of each entry of an index of positions. It begins after the position
-- after, and ends at the bound last. If visit returns true, walk returns the current position.
local function walk(index, after, last, visit)
  local first = after == '' and '-' or '(' .. after
  repeat
    local page = call('ZRANGE', index, first, last, 'BYLEX', 'LIMIT', 0, PAGE)
    for _, position in ipairs(page) do
      if visit(id_in(position)) then return position end
    end
    first = '(' .. (page[#page] or '')
  until #page < PAGE
end

local function selects(q, r)
  local slot = tonumber(r.slot)
  return (q.user == '' or r.user == q.user) and (not q.live or r.revoked == '')
    and (q.name == '' or r.name == q.name)
    and (q.created_by == '' or r.created_by == q.created_by)
    and (q.expires_before == '' or r.expires ~= '' and r.expires < q.expires_before)
    and (q.max_slot == 0 or slot >= q.min_slot and slot <= q.max_slot)
end

-- visit_selected calls visit with the IDs of all tokens that a query selects, and maybe with other
-- IDs. It uses the smallest index for the query.
local function visit_selected(q, visit)
  if q.by_id then
    for i = 12, #ARGV do visit(ARGV[i]) end
  elseif q.user ~= '' and q.live and q.name ~= '' then
    local id = call('HGET', key('user-names', q.user), q.name)
    if id then visit(id) end
  elseif q.user ~= '' and q.max_slot > 0 then
    local ids = call('ZRANGE', key('user-slots', q.user), q.min_slot, q.max_slot, 'BYSCORE')
    for _, id in ipairs(ids) do visit(id) end
  elseif q.user == '' and q.created_by ~= '' then
    walk(key('created', q.created_by), q.after, '+', visit)
  else
    local kind = q.live and 'live' or 'all'
    local index = q.user == '' and key(kind) or key('user-' .. kind, q.user)
    walk(index, q.after, '+', visit)
  end
end

-- list USER LIVE NAME MIN-SLOT MAX-SLOT CREATED-BY EXPIRES-BEFORE AFTER LIMIT BY-ID ID… returns each
-- record as a list of fields and values. The caller sorts the records and applies AFTER and LIMIT,
-- because list applies them only when it walks over an index of positions.
function commands.list()
  local q = {
    user = ARGV[2], live = ARGV[3] == '1', name = ARGV[4],
    min_slot = tonumber(ARGV[5]), max_slot = tonumber(ARGV[6]),
    created_by = ARGV[7], expires_before = ARGV[8],
    after = ARGV[9], limit = tonumber(ARGV[10]), by_id = ARGV[11] == '1',
  }
  local found = {}
  visit_selected(q, function(id)
    local r = load(id)
    if r and selects(q, r) then table.insert(found, flatten(r)) end
    return q.limit > 0 and #found == q.limit
  end)
  return found
end

-- changeable returns a live token of the user that is not expired, or nil and an error.
local function changeable(user, id, at)
  local r = load(id)
  if not r or r.user ~= user or r.revoked ~= '' then return nil, 'ErrNotFound' end
  if is_expired(r, at) then return nil, 'ErrConflict' end
  return r
end

-- update USER ID AT GUARDED SCOPES RESOURCES EXPIRES FIELD VALUE…: if GUARDED is 1, the token must
-- have the given scopes, resources and expiry, or must already have the new values.
function commands.update()
  local old, err = changeable(ARGV[2], ARGV[3], ARGV[4])
  if err then return err end
  local r, same = with(old, 9, #ARGV), true
  for field, value in pairs(r) do same = same and old[field] == value end
  if same then return 'OK' end
  local is_outdated = old.scopes ~= ARGV[6] or old.resources ~= ARGV[7] or old.expires ~= ARGV[8]
  if ARGV[5] == '1' and is_outdated then return 'ErrConflict' end
  if name_taken(r) then return 'ErrNameTaken' end
  save(old, r)
  return 'OK'
end

-- rotate USER ID AT GENERATION DIGEST FIELD VALUE…
function commands.rotate()
  local old, err = changeable(ARGV[2], ARGV[3], ARGV[4])
  if err then return err end
  if old.digest == ARGV[6] then return 'OK' end
  if old.generation ~= ARGV[5] then return 'ErrConflict' end
  if digest_taken(ARGV[6]) then return 'ErrKeyTaken' end
  local r = with(old, 7, #ARGV)
  r.digest, r.retired = ARGV[6], old.digest
  save(old, r)
  return 'OK'
end

-- revoke USER ID AT BY EXPIRED-ONLY UNUSED-SINCE
function commands.revoke()
  local r, at = load(ARGV[3]), ARGV[4]
  if not r or r.user ~= ARGV[2] then return 'ErrNotFound' end
  if r.revoked ~= '' then return 'OK' end
  local has_ended = is_expired(r, at) or is_idle(r, ARGV[7])
  if ARGV[6] == '1' and not has_ended then return 'ErrConflict' end
  revoke(r, at, ARGV[5])
  return 'OK'
end

-- revoke_all USER AT BY LIMIT returns the number of revoked tokens.
function commands.revoke_all()
  local positions = call('ZRANGE', key('user-live', ARGV[2]), 0, tonumber(ARGV[5]) - 1)
  for _, position in ipairs(positions) do revoke(load(id_in(position)), ARGV[3], ARGV[4]) end
  return #positions
end

-- touch ID AT… moves no index entry.
function commands.touch()
  for i = 2, #ARGV, 2 do
    local token, at = key('token', ARGV[i]), ARGV[i + 1]
    local created, used = unpack(call('HMGET', token, 'created', 'used'))
    if created and at < created then at = created end
    if created and at > used then call('HSET', token, 'used', at) end
  end
  return 'OK'
end

-- prune BEFORE UNUSED-SINCE LIMIT AFTER deletes at most LIMIT records that have ended, and idle
-- tokens after the position AFTER. It returns the number of deleted records, and the position at
-- which the next call must continue. The position is false if no records are left.
function commands.prune()
  local since, limit, after = ARGV[3], tonumber(ARGV[4]), ARGV[5]
  local positions = call('ZRANGE', key('ended'), '-', '(' .. ARGV[2], 'BYLEX', 'LIMIT', 0, limit)
  for _, position in ipairs(positions) do delete(load(id_in(position))) end
  local n, seen = #positions, 0
  if n == limit then return {n, after} end
  if since == '' then return {n, false} end
  local position = walk(key('live'), after, '[' .. since .. '\255', function(id)
    local r = load(id)
    if r.origin == '' and is_idle(r, since) then
      delete(r)
      n = n + 1
    end
    seen = seen + 1
    return n == limit or seen == STEP
  end)
  return {n, position or false}
end

return commands[ARGV[1]]()
