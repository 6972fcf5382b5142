curl http://localhost:4000/api/sessions/{session_id}/messages?after_seq=0&limit=50
