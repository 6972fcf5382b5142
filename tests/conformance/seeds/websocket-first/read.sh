curl -X POST http://localhost:4000/api/sessions/{session_id}/read \
  -H "Content-Type: application/json" \
  -d '{
    "user_id": "alice",
    "last_seq": 42
  }'
